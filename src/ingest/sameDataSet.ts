import { open } from 'node:fs/promises'
import { readHeaderOf } from '../dicom/readHeaderOf.js'

/**
 * Are two Part 10 files the same object, leaving preamble and file meta information aside? Senders write their own group 0002,
 * so a re-sent object may differ in it.
 */
export async function sameDataSet(pathA: string, pathB: string): Promise<boolean> {
  const [a, b] = await Promise.all([openAtDataSet(pathA), openAtDataSet(pathB)])
  try {
    if (!a.offset || !b.offset || a.transferSyntaxUid !== b.transferSyntaxUid) return false
    if (a.size - a.offset !== b.size - b.offset) return false
    const [bufferA, bufferB] = [Buffer.alloc(256 * 1024), Buffer.alloc(256 * 1024)]
    for (let at = 0; at < a.size - a.offset; at += bufferA.length) {
      const [readA, readB] = await Promise.all([
        a.handle.read(bufferA, 0, bufferA.length, a.offset + at),
        b.handle.read(bufferB, 0, bufferB.length, b.offset + at),
      ])
      if (!bufferA.subarray(0, readA.bytesRead).equals(bufferB.subarray(0, readB.bytesRead))) return false
    }
    return true
  } finally {
    await Promise.all([a.handle.close(), b.handle.close()])
  }
}

async function openAtDataSet(path: string) {
  const handle = await open(path, 'r')
  const { size, outcome } = await readHeaderOf(handle)
  if (outcome.outcome === 'refused') return { handle, size }
  const { dataSetOffset, transferSyntax } = outcome.header
  return { handle, size, offset: dataSetOffset, transferSyntaxUid: transferSyntax.uid }
}
