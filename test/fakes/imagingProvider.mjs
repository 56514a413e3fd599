// A fake of a remote medical-imaging provider, which misbehaves on demand: node test/fakes/imagingProvider.mjs [PORT], or npm run fake-provider.
//
// It answers POST /medical-imaging/batch as docs/providers/imaging-rest.md says, and GET /health. It finds what it is told to find; it knows nothing of images.
// PUT /behaviour with JSON changes it; GET /log tells what it was asked, DELETE /log forgets it. Behaviour:
//   latency       ms before an answer
//   drop          share of the images that are silently left out of an answer
//   failImages    share of the images that are answered with an error
//   failRequests  share of the requests that are answered with 500
//   limit         requests a second; more get 429 with Retry-After: 1
//   silentLimit   images a second; more are left out of the answer
//   maxImages     of a request; more get 413
//   status        every request gets this status
//   json          every answer is this text
//   foreign       results are about other images
//   reset         share of the connections that are cut
//   version       of the model
//   findings      of each image: a list, or { "INDEX": [...] }
//   outside       findings lie outside of the image
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

const initial = { latency: 0, drop: 0, failImages: 0, failRequests: 0, reset: 0, version: '1.0.0', findings: [] }
let behaviour = { ...initial }
let log = []
let seconds = []
// Numbers that only look random, so that a test fails the same way twice.
let state = 42
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return state / 2 ** 32
}

const server = createServer(async (req, res) => {
  try {
    await answer(req, res)
  } catch (error) {
    if (!res.headersSent) json(res, 400, { error: String(error) })
  }
})
server.keepAliveTimeout = 60_000
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  const url = `http://127.0.0.1:${server.address().port}`
  if (process.send) process.send({ url })
  else console.log(`the fake provider listens at ${url}`)
})
process.on('disconnect', () => process.exit())

function json(res, status, body, headers = {}) {
  res.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body))
}

async function answer(req, res) {
  const body = await bodyOf(req)
  if (req.url === '/behaviour') {
    behaviour = { ...initial, ...JSON.parse(body.toString()) }
    return json(res, 200, behaviour)
  }
  if (req.url === '/log') {
    const told = log
    if (req.method === 'DELETE') log = []
    return json(res, 200, told)
  }
  if (req.url === '/health') return json(res, 200, { status: 'ok', models: ['fake'] })
  if (req.url !== '/medical-imaging/batch' || req.method !== 'POST')
    return json(res, 404, { error: 'no such resource' })
  return batch(req, res, body)
}

async function batch(req, res, body) {
  const entry = {
    at: Date.now(),
    bytes: body.length,
    authorization: req.headers.authorization,
    key: req.headers['idempotency-key'],
  }
  log.push(entry)
  if (behaviour.keepBodies) entry.body = body.toString('base64')
  const form = await new Response(body, { headers: { 'Content-Type': req.headers['content-type'] } }).formData()
  const { images, study } = JSON.parse(await form.get('request').text())
  entry.study = study
  entry.images = images.map(image => image.index)
  if (random() < behaviour.reset) return req.socket.destroy()
  if (behaviour.latency) await sleep(behaviour.latency)
  if (behaviour.status)
    return json(
      res,
      behaviour.status,
      { error: 'as told' },
      behaviour.retryAfter ? { 'Retry-After': String(behaviour.retryAfter) } : {},
    )
  if (behaviour.json !== undefined)
    return res.writeHead(200, { 'Content-Type': 'application/json' }).end(behaviour.json)
  const now = Date.now()
  seconds = seconds.filter(at => at > now - 1000)
  if (behaviour.limit && seconds.length >= behaviour.limit) {
    entry.limited = true
    return json(res, 429, { error: 'too many requests' }, { 'Retry-After': '1' })
  }
  seconds.push(now)
  if (random() < behaviour.failRequests) return json(res, 500, { error: 'as told' })
  if (behaviour.maxImages && images.length > behaviour.maxImages) return json(res, 413, { error: 'too many images' })
  const results = []
  for (const image of images) {
    const expected = image.rows * image.columns * image.samples_per_pixel * image.bytes_per_sample
    if (form.get(image.part).size !== expected)
      throw new Error(`image ${image.index} has ${form.get(image.part).size} bytes, not ${expected}`)
    if (random() < behaviour.drop) continue
    if (random() < behaviour.failImages) results.push({ index: image.index, error: 'inference failed' })
    else results.push({ index: behaviour.foreign ? image.index + 100_000 : image.index, findings: found(image) })
  }
  entry.answered = results.length
  return json(res, 200, {
    model: { name: 'Fake Detector', version: behaviour.version, manufacturer: 'Fake Inc' },
    usage: { units: images.length },
    results,
  })
}

function found(image) {
  const list = Array.isArray(behaviour.findings) ? behaviour.findings : (behaviour.findings[image.index] ?? [])
  if (!behaviour.outside) return list
  return [{ label: 'nodule', box: [0, 0, image.columns + 5, 3] }]
}

async function bodyOf(req) {
  const chunks = []
  for await (const chunk of req) chunks.push(chunk)
  return Buffer.concat(chunks)
}
