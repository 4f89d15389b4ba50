import { fileURLToPath } from 'node:url'
import tailwindcss from '@tailwindcss/vite'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'
import { emoji } from './emoji.ts'
import { precompress } from './precompress.ts'

const server = { target: 'http://127.0.0.1:8080', ws: true }

export default defineConfig({
  plugins: [react(), tailwindcss(), emoji(), precompress()],
  resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
  build: { target: 'es2023', assetsInlineLimit: 0 },
  server: { proxy: { '/ws': server, '/v1': server } },
  test: { environment: 'happy-dom', include: ['src/**/*.test.ts'], restoreMocks: true, unstubGlobals: true },
})
