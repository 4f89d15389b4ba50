import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import type { Plugin } from 'vite'

const PACKABLE = /\.(css|html|js|json|svg|txt|webmanifest)$/

/** Puts a `.br` and a `.gz` beside each file that gets shorter by it, so that the server only has to choose. */
export function precompress(): Plugin {
  return {
    name: 'precompress',
    apply: 'build',
    enforce: 'post',
    generateBundle(_options, bundle) {
      for (const file of Object.values(bundle)) {
        if (!PACKABLE.test(file.fileName)) continue
        const content = Buffer.from(file.type === 'chunk' ? file.code : file.source)
        const packed = {
          br: brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }),
          gz: gzipSync(content, { level: 9 }),
        }
        for (const [suffix, source] of Object.entries(packed)) {
          if (source.length < content.length) {
            this.emitFile({ type: 'asset', fileName: `${file.fileName}.${suffix}`, source })
          }
        }
      }
    },
  }
}
