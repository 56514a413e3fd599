import { closeSync, openSync, readSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import { crc32 } from '@node-rs/crc32'
import { memoryOffset, type ReadAnswer, type ReadOrder } from './wholeReader.js'

/** What has been read is still in the cache of the processor when its checksum is taken. */
const pieceBytes = 128 * 1024

const port = parentPort!
port.on('message', (order: ReadOrder) => port.postMessage(answerTo(order)))

function answerTo({ id, path, byteLength, memory }: ReadOrder): ReadAnswer {
  try {
    return { id, ...read(path, Buffer.from(memory, memoryOffset, byteLength)) }
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException
    return { id, code, message }
  }
}

function read(path: string, bytes: Buffer): { bytesRead: number; crc32: number } {
  const descriptor = openSync(path, 'r')
  try {
    let [at, checksum] = [0, 0]
    while (at < bytes.length) {
      const count = readSync(descriptor, bytes, at, Math.min(pieceBytes, bytes.length - at), at)
      if (count === 0) break
      checksum = crc32(bytes.subarray(at, at + count), checksum)
      at += count
    }
    return { bytesRead: at, crc32: checksum }
  } finally {
    closeSync(descriptor)
  }
}
