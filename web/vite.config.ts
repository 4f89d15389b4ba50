import { fileURLToPath } from 'node:url'
import tailwindcss from '@tailwindcss/vite'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'
import { emoji } from './emoji.ts'
import { precompress } from './precompress.ts'

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const server = { target: 'http://127.0.0.1:8080', ws: true }

export default defineConfig({
  plugins: [react(), tailwindcss(), emoji(), precompress()],
  resolve: {
    alias: [
      { find: /^@(?=\/)/, replacement: path('src') },
      { find: /^hubbub-client$/, replacement: path('sdk/src/index.ts') },
      { find: /^hubbub-client\/fake$/, replacement: path('sdk/src/fake.ts') },
    ],
  },
  // relative: the page may be hosted in any directory
  base: './',
  build: { target: 'es2023', assetsInlineLimit: 0 },
  server: { proxy: { '/ws': server, '/v1': server } },
  test: { environment: 'happy-dom', include: ['{src,sdk/src}/**/*.test.ts'], restoreMocks: true, unstubGlobals: true },
})
