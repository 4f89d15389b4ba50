import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import type { Plugin } from 'vite'

const PACKABLE = /\.(css|html|js|json|svg|txt|webmanifest)$/

/** Puts a `.br` and a `.gz` beside each file that gets shorter by it, so that the server only has to choose. */
export function precompress(): Plugin {
  return {
    name: 'precompress',
    apply: 'build',
    // only what is written is final: other plugins change it until then
    writeBundle({ dir = '' }) {
      for (const path of readdirSync(dir, { recursive: true, encoding: 'utf8' })) {
        if (PACKABLE.test(path)) pack(join(dir, path))
      }
    },
  }
}

function pack(path: string) {
  const content = readFileSync(path)
  const packed = {
    br: brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }),
    gz: gzipSync(content, { level: 9 }),
  }
  for (const [suffix, bytes] of Object.entries(packed)) {
    if (bytes.length < content.length) writeFileSync(`${path}.${suffix}`, bytes)
  }
}
