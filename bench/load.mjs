// STOW-RS load: CT instances that are new at each round, as one request or one request an instance.
import http from 'node:http'
import { Phantom } from '../dist/cli/phantom.js'

const boundary = 'radbridge-bench'
const head = Buffer.from(`\r\n--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`)
const tail = Buffer.from(`\r\n--${boundary}--\r\n`)

/** `count` instances of 512 × 512 pixels, 525 KB each. */
export function makeInstances(count) {
  const phantom = new Phantom({
    size: 512,
    slices: count,
    pixelSpacing: 0.65,
    sliceSpacing: 1,
    nodules: [],
    vessels: false,
    noise: 0,
    seed: 1,
    study: 'bench',
  })
  const instances = []
  for (let z = 0; z < count; z++) instances.push(z < 8 ? phantom.file(z) : Buffer.from(instances[z % 8]))
  return instances
}

let round = 0
/** Gives all instances UIDs that no server has seen: the last digits of the UIDs are written over, in place. */
export function renew(instances) {
  round++
  for (const [i, bytes] of instances.entries()) {
    stamp(bytes, '20000d005549', round, 0)
    stamp(bytes, '20000e005549', round, 0)
    stamp(bytes, '080018005549', round, i + 1)
    stamp(bytes, '020003005549', round, i + 1)
  }
}

function stamp(bytes, element, study, number) {
  const at = bytes.indexOf(Buffer.from(element, 'hex'))
  bytes.write(String(study * 100_000 + number).padStart(12, '0'), at + 8 + 10, 'latin1')
}

/** @returns seconds */
export async function pushAsOne(url, instances) {
  const began = performance.now()
  await post(url, new http.Agent(), instances)
  return (performance.now() - began) / 1000
}

export async function pushEach(url, instances, clients) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: clients })
  const queue = [...instances]
  const began = performance.now()
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (queue.length > 0) await post(url, agent, [queue.shift()])
    }),
  )
  const seconds = (performance.now() - began) / 1000
  agent.destroy()
  return seconds
}

export function post(url, agent, instances) {
  const length = instances.reduce((sum, bytes) => sum + head.length + bytes.length, tail.length)
  return new Promise((resolve, reject) => {
    const headers = {
      'Content-Type': `multipart/related; type="application/dicom"; boundary=${boundary}`,
      'Content-Length': length,
      Accept: 'application/dicom+json',
    }
    const req = http.request(url, { method: 'POST', agent, headers }, res => {
      let text = ''
      res.on('data', chunk => (text += chunk))
      res.on('end', () =>
        res.statusCode === 200 ? resolve() : reject(new Error(`${res.statusCode} ${text.slice(0, 300)}`)),
      )
    })
    req.on('error', reject)
    void (async () => {
      for (const bytes of instances) {
        req.write(head)
        if (!req.write(bytes)) await new Promise(r => req.once('drain', r))
      }
      req.end(tail)
    })()
  })
}
