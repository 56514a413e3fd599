import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Response } from 'express'
import type { DatasetStudy } from '../pipeline/index.js'

/** Sends a study for training as multipart/related: its labels as JSON, then its objects. */
export async function sendDatasetStudy(
  res: Response,
  { labels, objects }: Extract<DatasetStudy, { outcome: 'study' }>,
): Promise<void> {
  const boundary = randomUUID()
  const part = (type: string) => Buffer.from(`\r\n--${boundary}\r\nContent-Type: ${type}\r\n\r\n`)
  async function* body() {
    yield part('application/json').subarray(2)
    yield Buffer.from(JSON.stringify(labels))
    for await (const { path } of objects) {
      yield part('application/dicom')
      for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 })) yield chunk as Buffer
    }
    yield Buffer.from(`\r\n--${boundary}--\r\n`)
  }
  res.set('Content-Type', `multipart/related; type="application/json"; boundary=${boundary}`)
  await pipeline(Readable.from(body(), { objectMode: false }), res).catch(error => {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') res.destroy(error as Error)
  })
}
