import { type HeaderOutcome, readPart10Header } from './part10.js'

/** What is needed of an open file; a `FileHandle` of node:fs/promises is one. */
export interface ReadableFile {
  stat(): Promise<{ size: number }>
  read(buffer: Buffer, offset: number, length: number, position: number): Promise<{ bytesRead: number }>
}

const firstAttempt = 64 * 1024

/** Reads as much of a Part 10 file as its header needs. @param forPixels as for `readPart10Header` */
export async function readHeaderOf(
  file: ReadableFile,
  forPixels = false,
): Promise<{ size: number; outcome: Exclude<HeaderOutcome, { outcome: 'incomplete' }> }> {
  const { size } = await file.stat()
  for (let length = firstAttempt; ; length *= 4) {
    const beginning = Buffer.alloc(Math.min(length, size))
    await file.read(beginning, 0, beginning.length, 0)
    const outcome = readPart10Header(beginning, beginning.length === size, forPixels)
    if (outcome.outcome !== 'incomplete') return { size, outcome }
  }
}
