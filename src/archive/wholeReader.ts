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

/** One of them reads what is in the cache of the system as fast as it can be sent; of a slow storage several files are read at once. */
const mostThreads = 3
/** Files that wait for a thread before there is another one. */
const busyWith = 4

/**
 * Reads files and their checksums in threads of its own, into memory that is used again and again. A study that goes out keeps the event loop busy with sending it; what else it costs is other
 * processors' work (docs/decisions/0015-reading-thread.md).
 */
export class WholeReader {
  private readonly threads: ReadingThread[] = []
  private readonly idle: SharedArrayBuffer[] = []

  /**
   * @param path of a file of at most {@link maxWhole} bytes
   * @throws DamagedBlob unless it is as it was stored
   */
  async read(path: string, stored: StoredBytes): Promise<WholeFile> {
    const { byteLength } = stored
    const memory = this.idle.pop() ?? new SharedArrayBuffer(memoryOffset + maxWhole)
    const answer = await this.leastBusy().read({ path, byteLength, memory })
    const release = () => {
      if (this.idle.length < mostIdle) this.idle.push(memory)
    }
    if ('bytesRead' in answer && answer.bytesRead === byteLength && answer.crc32 === stored.crc32)
      return { bytes: Buffer.from(memory, memoryOffset, byteLength), release }
    release()
    if ('bytesRead' in answer || answer.code === 'ENOENT') throw new DamagedBlob(stored)
    throw Object.assign(new Error(answer.message), { code: answer.code })
  }

  async close(): Promise<void> {
    await Promise.all(this.threads.map(thread => thread.end()))
  }

  private leastBusy(): ReadingThread {
    const [least] = this.threads.toSorted((a, b) => a.inHand - b.inHand)
    if (least && (least.inHand < busyWith || this.threads.length >= mostThreads)) return least
    const thread = new ReadingThread(() => this.threads.splice(this.threads.indexOf(thread), 1))
    this.threads.push(thread)
    return thread
  }
}

class ReadingThread {
  private readonly worker = new Worker(compiledModule(import.meta.url, './wholeReaderWorker.js'))
  private readonly readings = new Map<number, Reading>()
  private orders = 0

  /** @param ended it reads no more */
  constructor(ended: () => void) {
    this.worker.unref()
    this.worker.on('message', (answer: ReadAnswer) => {
      const reading = this.readings.get(answer.id)
      this.readings.delete(answer.id)
      reading?.answer(answer)
    })
    let problem = new Error('the thread that reads files has ended')
    this.worker.on('error', error => {
      problem = error
    })
    this.worker.on('exit', () => {
      ended()
      for (const reading of this.readings.values()) reading.fail(problem)
      this.readings.clear()
    })
  }

  get inHand(): number {
    return this.readings.size
  }

  read(order: Omit<ReadOrder, 'id'>): Promise<ReadAnswer> {
    const id = this.orders++
    return new Promise<ReadAnswer>((answer, fail) => {
      this.readings.set(id, { answer, fail })
      this.worker.postMessage({ id, ...order } satisfies ReadOrder)
    })
  }

  async end(): Promise<void> {
    await this.worker.terminate()
  }
}
