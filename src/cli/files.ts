import { open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { ObjectToDeliver } from '../delivery/index.js'
import { readHeaderOf } from '../dicom/readHeaderOf.js'

/** All files under the given files and folders, sorted. */
export async function listFiles(paths: readonly string[]): Promise<string[]> {
  const lists = await Promise.all(
    paths.map(async path => {
      if (!(await stat(path)).isDirectory()) return [path]
      const names = (await readdir(path)).sort()
      return listFiles(names.map(name => join(path, name)))
    }),
  )
  return lists.flat()
}

/** @returns what the file is, or why it is not sent */
export async function readObject(path: string): Promise<ObjectToDeliver | { path: string; problem: string }> {
  const handle = await open(path, 'r')
  try {
    const { size, outcome } = await readHeaderOf(handle)
    if (outcome.outcome === 'refused') return { path, problem: outcome.detail }
    const { sopClassUid, sopInstanceUid, seriesInstanceUid, studyInstanceUid } = outcome.header
    return { path, byteLength: size, sopClassUid, sopInstanceUid, seriesInstanceUid, studyInstanceUid }
  } finally {
    await handle.close()
  }
}
