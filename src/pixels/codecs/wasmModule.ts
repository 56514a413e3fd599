import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const require = createRequire(import.meta.url)

/**
 * Loads an Emscripten module once for each thread. The WASM build is asked for by name: the packages' default entry is asm.js,
 * eight times slower (docs/decisions/0005-frames.md).
 * @param specifier package and export of the loader, for example `@cornerstonejs/codec-openjpeg/decodewasmjs`
 */
export function wasmModule<T>(specifier: string): () => Promise<T> {
  let loading: Promise<T> | undefined
  return () => {
    const file = require.resolve(specifier)
    const create = require(file) as (options: object) => Promise<T>
    loading ??= create({ locateFile: (name: string) => join(dirname(file), name), print() {}, printErr() {} })
    return loading
  }
}

/** What the three decoders of @cornerstonejs have in common (Embind objects; `delete` frees their memory). */
export interface WasmDecoder {
  getEncodedBuffer(length: number): Uint8Array
  getDecodedBuffer(): Uint8Array
  decode(): void
  delete(): void
}

/** The samples of a decoder as an array of their own: the WASM heap is used again by the next frame. */
export function copySamples(
  bytes: Uint8Array,
  precision: number,
  signed: boolean,
): Uint8Array | Uint16Array | Int16Array {
  const own = bytes.slice()
  if (precision <= 8) return own
  return signed ? new Int16Array(own.buffer, 0, own.length >> 1) : new Uint16Array(own.buffer, 0, own.length >> 1)
}
