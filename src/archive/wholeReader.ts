import { Worker } from 'node:worker_threads'
import { compiledModule } from '../platform/compiledModule.js'
import { DamagedBlob, type StoredBytes } from './verified.js'

/** Longer files are read as they go out. */
export const maxWhole = 2 * 1024 * 1024
/** Memory that is kept for what is read next. */
const mostIdle = 16
/** Where a file begins in its memory: AMD's processors copy from one page to another three times as slowly if it begins where they begin (docs/decisions/0015-reading-thread.md). */
export const memoryOffset = 64

/** What the thread is asked for, and what it answers (wholeReaderWorker.ts). */
export interface ReadOrder {
  id: number
  path: string
  byteLength: number
  memory: SharedArrayBuffer
}
export type ReadAnswer = { id: number } & ({ bytesRead: number; crc32: number } | { code: string; message: string })

/** All bytes of a stored file, as they were stored. */
export interface WholeFile {
  bytes: Buffer
  /** The bytes are needed no more: their memory is used again. */
  release(): void
}

interface Reading {
  answer(answer: ReadAnswer): void
  fail(error: Error): void
}

/**
 * Reads files and their checksums in a thread of its own, into memory that is used again and again. A study that goes out keeps the event loop busy with sending it; what else it costs is the
 * other processor's work.
 */
export class WholeReader {
  private thread: Worker | undefined
  private readonly readings = new Map<number, Reading>()
  private readonly idle: SharedArrayBuffer[] = []
  private orders = 0

  /**
   * @param path of a file of at most {@link maxWhole} bytes
   * @throws DamagedBlob unless it is as it was stored
   */
  async read(path: string, stored: StoredBytes): Promise<WholeFile> {
    const memory = this.idle.pop() ?? new SharedArrayBuffer(memoryOffset + maxWhole)
    const order: ReadOrder = { id: this.orders++, path, byteLength: stored.byteLength, memory }
    const answer = await new Promise<ReadAnswer>((answer, fail) => {
      this.readings.set(order.id, { answer, fail })
      this.thread ??= this.start()
      this.thread.postMessage(order)
    })
    const release = () => {
      if (this.idle.length < mostIdle) this.idle.push(memory)
    }
    if ('bytesRead' in answer && answer.bytesRead === stored.byteLength && answer.crc32 === stored.crc32)
      return { bytes: Buffer.from(memory, memoryOffset, stored.byteLength), release }
    release()
    if ('bytesRead' in answer || answer.code === 'ENOENT') throw new DamagedBlob(stored)
    throw Object.assign(new Error(answer.message), { code: answer.code })
  }

  async close(): Promise<void> {
    await this.thread?.terminate()
  }

  private start(): Worker {
    const thread = new Worker(compiledModule(import.meta.url, './wholeReaderWorker.js'))
    thread.unref()
    thread.on('message', (answer: ReadAnswer) => {
      const reading = this.readings.get(answer.id)
      this.readings.delete(answer.id)
      reading?.answer(answer)
    })
    thread.on('error', error => this.lost(thread, error))
    thread.on('exit', () => this.lost(thread, new Error('the thread that reads files has ended')))
    return thread
  }

  /** The next file is read by another thread. */
  private lost(thread: Worker, error: Error): void {
    if (this.thread !== thread) return
    this.thread = undefined
    for (const reading of this.readings.values()) reading.fail(error)
    this.readings.clear()
  }
}
