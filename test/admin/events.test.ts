import { expect, test } from '@jest/globals'
import { freshUids, instance, multipart, multipartType } from '../fixtures/part10.js'
import { http, startTestService, until } from '../fixtures/service.js'

test('what happens to studies is told as it happens, and a stop does not wait for those who listen', async () => {
  const service = await startTestService()
  const listener = await fetch(`${service.url}/api/events`)
  expect(listener.headers.get('content-type')).toMatch(/text\/event-stream/)
  let heard = ''
  const ended = (async () => {
    for await (const chunk of listener.body!) heard += Buffer.from(chunk).toString()
  })()
  const uids = freshUids()
  const body = multipart([instance(uids)])
  await http('POST', `${service.url}/dicom-web/studies`, { 'Content-Type': multipartType }, body)
  await until('it is told', async () => (/"kind":"settled"/.test(heard) ? true : undefined))
  expect(heard).toContain(uids.study)
  const id = /^id: (\d+)$/m.exec(heard)![1]!

  // Somebody who was away hears what came since.
  const again = await fetch(`${service.url}/api/events`, {
    headers: { 'Last-Event-ID': String(Number(id) - 1) },
  })
  let caughtUp = ''
  const endedToo = (async () => {
    for await (const chunk of again.body!) caughtUp += Buffer.from(chunk).toString()
  })()
  await until('what came since is told', async () => (caughtUp.includes(`id: ${id}\n`) ? true : undefined))
  const began = Date.now()
  await service.stop()
  expect(Date.now() - began).toBeLessThan(8000)
  await Promise.all([ended, endedToo])
}, 180_000)
