import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { PixelProblem } from '../imageDescription.js'

const require = createRequire(import.meta.url)

// V8 11 (Node.js 20) saves compiling time with huge functions, by a register allocator whose code is slower. The decoding of JPEG 2000's code blocks is one of them: with
// the allocator of all others a frame takes two thirds of the time. Later versions have no other.
if (process.versions.v8.startsWith('11.')) setFlagsFromString('--no-turbo-use-mid-tier-regalloc-for-huge-functions')

/** What the decoders of @cornerstonejs have in common (Embind objects; `delete` frees their memory). */
export interface WasmDecoder {
  getEncodedBuffer(length: number): Uint8Array
  getDecodedBuffer(): Uint8Array
  decode(): void
  delete(): void
}

/** Memory of a WebAssembly module never shrinks: one that has grown beyond this is given up after the frame. */
const maxIdleHeap = 256 * 1024 * 1024

interface WasmInstance {
  HEAPU8?: Uint8Array
}

/**
 * A decoder in WebAssembly, loaded once for each thread. The WASM build is asked for by name: the packages' default entry is asm.js,
 * eight times slower (docs/decisions/0005-frames.md). A module that has failed in a way from which it cannot recover is loaded anew.
 * @param specifier package and export of the loader, for example `@cornerstonejs/codec-openjpeg/decodewasmjs`
 * @param className of the decoder in it
 */
export function wasmDecoder<D extends WasmDecoder>(specifier: string, className: string) {
  let loading: Promise<LoadedModule<D>> | undefined
  const load = () => (loading ??= loadModule<D>(specifier))
  /**
   * Decodes a stream and hands the decoder to `take`, which copies what it wants.
   * @throws PixelProblem with `problem` if the stream cannot be decoded
   */
  return async <T>(stream: Uint8Array, problem: string, take: (decoder: D) => T): Promise<T> => {
    const module = await load()
    let decoder: D | undefined
    try {
      decoder = new module[className]!()
      decoder.getEncodedBuffer(stream.length).set(stream)
      decoder.decode()
      const taken = take(decoder)
      decoder.delete()
      if ((module.HEAPU8?.length ?? 0) > maxIdleHeap) loading = undefined
      return taken
    } catch (cause) {
      // A C++ exception leaves the module usable; a trap or an abort does not, nor does a decoder that cannot be deleted.
      if (isTrap(cause)) loading = undefined
      try {
        if (loading) decoder?.delete()
      } catch {
        loading = undefined
      }
      if (cause instanceof PixelProblem) throw cause
      throw new PixelProblem(problem, { cause })
    }
  }
}

/** What the encoders of @cornerstonejs have in common. */
interface WasmEncoder {
  getDecodedBuffer(info: object): Uint8Array
  getEncodedBuffer(): Uint8Array
  encode(): void
  delete(): void
}

/** An encoder in WebAssembly, loaded once for each thread; a module that has failed is loaded anew. @see wasmDecoder */
export function wasmEncoder<E>(specifier: string, className: string) {
  let loading: Promise<LoadedModule<E & WasmEncoder>> | undefined
  /** @returns a copy of the code stream @throws PixelProblem */
  return async (info: object, samples: Uint8Array, set: (encoder: E) => void): Promise<Uint8Array> => {
    loading ??= loadModule<E & WasmEncoder>(specifier)
    const module = await loading
    try {
      const encoder = new module[className]!()
      encoder.getDecodedBuffer(info).set(samples)
      set(encoder)
      encoder.encode()
      const stream = encoder.getEncodedBuffer().slice()
      encoder.delete()
      if ((module.HEAPU8?.length ?? 0) > maxIdleHeap) loading = undefined
      return stream
    } catch (cause) {
      loading = undefined
      throw new PixelProblem('the samples cannot be compressed', { cause })
    }
  }
}

type LoadedModule<T> = WasmInstance & Record<string, new () => T>

function loadModule<T>(specifier: string): Promise<LoadedModule<T>> {
  const file = require.resolve(specifier)
  const create = require(file) as (options: object) => Promise<LoadedModule<T>>
  return create({ locateFile: (name: string) => join(dirname(file), name), print() {}, printErr() {} })
}

/** WebAssembly.RuntimeError, or memory that could not be had: the module's state is not to be relied on. */
export function isTrap(error: unknown): boolean {
  return error instanceof RangeError || (error as Error | undefined)?.name === 'RuntimeError'
}

/** The samples of a decoder as an array of their own: the WASM heap is used again by the next frame. */
export function copySamples(
  bytes: Uint8Array,
  expected: number,
  precision: number,
  problem: string,
): Uint8Array | Uint16Array {
  const length = expected * (precision > 8 ? 2 : 1)
  if (expected === 0 || bytes.length < length) throw new PixelProblem(problem)
  const own = bytes.slice(0, length)
  return precision > 8 ? new Uint16Array(own.buffer) : own
}
