// Modalities that push studies until each instance is acknowledged, and remember every answer.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Phantom } from '../../dist/cli/phantom.js'
import { storeScu } from '../../dist/dimse/storeScu.js'

const boundary = 'radbridge-torture'
const ctImageStorage = '1.2.840.10008.5.1.4.1.1.2'

/** Studies of so many slices, each of a patient of its own, alike but for UIDs and Patient ID: each can be made again, byte for byte. */
export class Studies {
  constructor(slices, size = 64) {
    this.slices = slices
    const phantom = new Phantom({
      size,
      slices,
      pixelSpacing: 330 / size,
      sliceSpacing: 240 / slices,
      nodules: [{ center: [-85, 10, 40], diameter: 26 }],
      vessels: false,
      noise: 5,
      seed: 1,
      study: 'torture',
      patientId: 'TORTURE-000000000000',
    })
    this.files = Array.from({ length: slices }, (_, z) => phantom.file(z))
  }

  /** @returns `{ bytes, studyInstanceUid, sopInstanceUid, seriesInstanceUid }` */
  instance(study, slice) {
    const bytes = Buffer.from(this.files[slice])
    const uid = (element, number) => {
      const at = bytes.indexOf(Buffer.from(element, 'hex'))
      const length = bytes.readUInt16LE(at + 6)
      bytes.write(String(study * 100_000 + number).padStart(12, '0'), at + 8 + 10, 'latin1')
      return bytes.toString('latin1', at + 8, at + 8 + length).replace(/\0$/, '')
    }
    const patientId = bytes.indexOf(Buffer.from('100020004c4f', 'hex')) + 8
    bytes.write(String(study).padStart(12, '0'), patientId + 8, 'latin1')
    uid('020003005549', slice + 1)
    return {
      bytes,
      studyInstanceUid: uid('20000d005549', 0),
      seriesInstanceUid: uid('20000e005549', 0),
      sopInstanceUid: uid('080018005549', slice + 1),
    }
  }
}

/** What a sender was answered, by status; what an honest archive may not answer is a violation. */
export class Answers {
  counts = new Map()
  violations = []

  note(what) {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }
  violated(what) {
    this.note(what)
    this.violations.push(what)
  }
}

const honestHttp = new Set([200, 202, 409, 503])
const outOfResources = [0xa700, 0xa701, 0xa702, 0x0122, 0x0110]

/** Sends a study by STOW-RS, in requests of some instances, each again until all are acknowledged. */
export async function sendByStow(url, studies, study, answers, signal, restMilliseconds = 300) {
  const left = Array.from({ length: studies.slices }, (_, slice) => slice)
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  while (left.length > 0 && !signal.aborted) {
    const slices = left.slice(0, 10)
    const instances = slices.map(slice => studies.instance(study, slice))
    const answer = await post(`${url}/studies`, agent, instances).catch(error => ({ error }))
    if (answer.error) {
      answers.note(`STOW-RS: no answer (${answer.error.code ?? answer.error.message})`)
      await sleep(300)
      continue
    }
    answers.note(`STOW-RS ${answer.status}`)
    if (!honestHttp.has(answer.status)) answers.violated(`STOW-RS ${answer.status}: ${answer.text.slice(0, 200)}`)
    if (answer.status === 503 && !answer.headers['retry-after']) answers.violated('503 without Retry-After')
    const stored = new Set(answer.status < 300 || answer.status === 409 ? referenced(answer.json, '00081199') : [])
    for (const failed of answer.json?.['00081198']?.Value ?? []) {
      const reason = failed['00081197'].Value[0]
      answers.note(`STOW-RS failure reason ${reason.toString(16)}`)
      if (!outOfResources.includes(reason)) answers.violated(`failure reason ${reason.toString(16)}`)
    }
    for (const [i, { sopInstanceUid }] of instances.entries())
      if (stored.has(sopInstanceUid)) left.splice(left.indexOf(slices[i]), 1)
    // As fast as a modality, which acquires meanwhile: what goes wrong shall find something on its way.
    await sleep(answer.status === 200 ? restMilliseconds : 500)
  }
  agent.destroy()
  return left.length === 0
}

function referenced(json, tag) {
  return (json?.[tag]?.Value ?? []).map(item => item['00081155'].Value[0])
}

function post(url, agent, instances) {
  const parts = instances.flatMap(({ bytes }) => [
    Buffer.from(`\r\n--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`),
    bytes,
  ])
  const body = Buffer.concat([...parts, Buffer.from(`\r\n--${boundary}--\r\n`)])
  const headers = {
    'Content-Type': `multipart/related; type="application/dicom"; boundary=${boundary}`,
    'Content-Length': body.length,
    Accept: 'application/dicom+json',
  }
  return new Promise((resolve, reject) => {
    const req = http.request(url, { method: 'POST', agent, headers, timeout: 60_000 }, res => {
      let text = ''
      res.on('data', chunk => (text += chunk))
      res.on('error', reject)
      res.on('end', () => {
        let json
        try {
          json = JSON.parse(text)
        } catch {
          json = undefined
        }
        resolve({ status: res.statusCode, headers: res.headers, text, json })
      })
    })
    req.on('timeout', () => req.destroy(new Error('no answer within 60 s')))
    req.on('error', reject)
    req.end(body)
  })
}

/** Sends a study by C-STORE, each instance again until it is acknowledged. */
export async function sendByDimse(port, studies, study, answers, signal, scratch, restMilliseconds = 30) {
  const folder = join(scratch, `study-${study}`)
  mkdirSync(folder, { recursive: true })
  const peer = { aeTitle: 'RADBRIDGE', host: '127.0.0.1', port, callingAeTitle: 'MODALITY', timeoutSeconds: 60 }
  const scu = storeScu(peer)
  let stored = 0
  for (let slice = 0; slice < studies.slices; slice++) {
    const { bytes, ...uids } = studies.instance(study, slice)
    const path = join(folder, `${slice}.dcm`)
    writeFileSync(path, bytes)
    while (!signal.aborted) {
      const { outcome, detail } = await scu.deliver({ ...uids, sopClassUid: ctImageStorage, path })
      if (outcome === 'delivered') {
        answers.note('C-STORE stored')
        stored++
        await sleep(restMilliseconds)
        break
      }
      answers.note(`C-STORE ${outcome}: ${detail.slice(0, 80)}`)
      if (outcome === 'refused') answers.violated(`C-STORE refused for good: ${detail}`)
      await sleep(500)
    }
    rmSync(path)
  }
  await scu.close()
  return stored === studies.slices
}
