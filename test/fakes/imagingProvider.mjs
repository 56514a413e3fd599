// A fake of a remote medical-imaging provider, which misbehaves on demand: node test/fakes/imagingProvider.mjs [PORT] [HOST], or npm run fake-provider.
//
// It answers as docs/providers/ says: POST /medical-imaging/batch and /analyze, POST /chat/completions, POST /v2/models/fake/infer, and their health checks. It finds what it
// is told to find; it knows nothing of images.
// PUT /behaviour with JSON changes it; GET /log tells what it was asked, DELETE /log forgets it. Behaviour:
//   latency       ms before an answer; [50, 5] for a median of 50 and a spread: some take many times as long
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
//   later         202, and the answer so many ms later at another address (batch, analyze)
//   slowBody      ms between the beginning and the rest of an answer
//   vendor        the field names of a vendor that has its own (batch)
//   heatmaps      with the results (batch, analyze)
//   cutOff        chat answers about more images than that end early
//   score         of each image (infer)
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
server.listen(Number(process.argv[2] ?? 0), process.argv[3] ?? '127.0.0.1', () => {
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
  if (req.url === '/health') return json(res, 200, { status: behaviour.health ?? 'ok', models: ['fake'] })
  if (req.url === '/models') return json(res, 200, { data: [{ id: 'fake' }] })
  if (req.url === '/v2/models/fake/ready') return json(res, 200, {})
  if (req.url === '/medical-imaging/longitudinal-report') {
    const { lesions, days_between } = JSON.parse(body.toString())
    log.push({ at: Date.now(), path: req.url, body: body.toString('base64') })
    if (behaviour.noSummary) return json(res, 200, {})
    return json(res, 200, { summary: `${lesions.length} lesion after ${days_between} days: ${lesions[0]?.change}` })
  }
  if (req.url.startsWith('/jobs/')) return job(req, res)
  if (req.url.startsWith('/fine-tuning/jobs')) return training(req, res, body)
  const wire = wires.find(({ path }) => path.test(req.url))
  if (!wire || req.method !== 'POST') return json(res, 404, { error: 'no such resource' })
  return analyze(req, res, body, wire)
}

/** How a request names its images, and how an answer is written: the rest is the same for all wire formats. */
const wires = [
  {
    path: /^\/medical-imaging\/(batch|analyze)$/,
    async read(req, body) {
      const form = await new Response(body, { headers: { 'Content-Type': req.headers['content-type'] } }).formData()
      const request = JSON.parse(await form.get('request').text())
      for (const image of request.images) {
        const bytes = Buffer.from(await form.get(image.part).arrayBuffer())
        const expected = image.rows * image.columns * image.samples_per_pixel * image.bytes_per_sample
        if (image.format === 'png') {
          if (bytes.toString('latin1', 1, 4) !== 'PNG' || bytes.readUInt32BE(16) !== image.columns)
            throw new Error(`image ${image.index} is no PNG of ${image.columns} columns`)
        } else if (image.format === 'dicom') {
          if (bytes.toString('latin1', 128, 132) !== 'DICM' || bytes.length < expected)
            throw new Error(`image ${image.index} is no Part 10 file`)
        } else if (bytes.length !== expected)
          throw new Error(`image ${image.index} has ${bytes.length} bytes, not ${expected}`)
      }
      return request
    },
    write(req, results, { images }) {
      const model = { name: 'Fake Detector', version: behaviour.version, manufacturer: 'Fake Inc' }
      const usage = { units: images.length }
      if (behaviour.vendor)
        // Field names of a vendor that has its own.
        return {
          ai: { product: model.name, release: behaviour.version },
          billing: { images: images.length },
          data: results.map(({ index, error, findings = [] }) => ({
            image_no: index,
            ...(error ? { failure: error } : {}),
            objects: findings.map(({ label, confidence, box }) => ({
              class: { nodule: 7, lesion: 8 }[label] ?? label,
              score: confidence === undefined ? undefined : confidence * 100,
              ...(box ? { rect: { x: box[0], y: box[1], w: box[2] - box[0], h: box[3] - box[1] } } : {}),
            })),
          })),
        }
      if (req.url.endsWith('/analyze')) return { model, usage, ...(results[0] ?? { error: 'inference failed' }) }
      return { model, usage, results }
    },
  },
  {
    path: /^\/chat\/completions$/,
    async read(_req, body) {
      const request = JSON.parse(body.toString())
      const parts = request.messages.at(-1).content
      const images = []
      for (let i = 0; i < parts.length; i += 2) {
        const [, index, columns, rows] = /index (\d+): .*, (\d+) columns, (\d+) rows/.exec(parts[i].text)
        const png = Buffer.from(parts[i + 1].image_url.url.split(',')[1], 'base64')
        if (png.readUInt32BE(16) !== Number(columns) || png.readUInt32BE(20) !== Number(rows))
          throw new Error(`picture ${index} is not of the size that it is said to be`)
        images.push({ index: Number(index), columns: Number(columns), rows: Number(rows) })
      }
      return { ...request, images }
    },
    write(_req, results, { images, model }) {
      const told = results
        .filter(({ error }) => !error)
        .map(({ index, findings }) => ({
          index,
          findings: findings.map(({ label, lesion = null, confidence = 0.5, box = null, laterality = null }) => ({
            label,
            lesion,
            confidence,
            box,
            laterality,
          })),
        }))
      return {
        model: `${model}-${behaviour.version}`,
        choices: [
          {
            finish_reason: behaviour.cutOff && images.length > behaviour.cutOff ? 'length' : 'stop',
            message: { role: 'assistant', content: JSON.stringify({ images: told }), refusal: behaviour.refusal },
          },
        ],
        usage: { total_tokens: 100 * images.length },
      }
    },
  },
  {
    path: /^\/v2\/models\/fake(\/versions\/\w+)?\/infer$/,
    async read(req, body) {
      const length = Number(req.headers['inference-header-content-length'])
      const { inputs, outputs } = JSON.parse(body.toString('utf8', 0, length))
      const [input] = inputs
      const [count, channels, rows, columns] = input.shape
      if (body.length - length !== count * channels * rows * columns * 4)
        throw new Error('the tensor is of another size')
      const first = body.readFloatLE(length)
      return { outputs, images: Array.from({ length: count }, (_, index) => ({ index, rows, columns })), first }
    },
    write(_req, results, { outputs, images }) {
      const count = images.length - (results.length < images.length ? 1 : 0)
      const boxes = 3
      const content = {
        scores: { shape: [count, 2], values: image => [image?.score ?? 0, 0] },
        boxes: {
          shape: [count, boxes, 4],
          values: image => Array.from({ length: boxes }, (_, k) => image?.findings[k]?.box ?? [0, 0, 1, 1]).flat(),
        },
        box_scores: {
          shape: [count, boxes],
          values: image =>
            Array.from({ length: boxes }, (_, k) => (image?.findings[k] ? (image.findings[k].confidence ?? 0.9) : 0)),
        },
      }
      const tensors = outputs.map(({ name }) => {
        const values = Array.from({ length: count }, (_, n) => content[name].values(results[n])).flat()
        return { name, shape: content[name].shape, bytes: Buffer.from(Float32Array.from(values).buffer) }
      })
      const header = Buffer.from(
        JSON.stringify({
          model_name: 'fake',
          model_version: behaviour.version,
          outputs: tensors.map(({ name, shape, bytes }) => ({
            name,
            datatype: 'FP32',
            shape,
            parameters: { binary_data_size: bytes.length },
          })),
        }),
      )
      return { length: header.length, bytes: Buffer.concat([header, ...tensors.map(({ bytes }) => bytes)]) }
    },
  },
]

async function analyze(req, res, body, wire) {
  const entry = {
    at: Date.now(),
    path: req.url,
    bytes: body.length,
    authorization: req.headers.authorization,
    key: req.headers['idempotency-key'],
  }
  log.push(entry)
  if (behaviour.keepBodies) entry.body = body.toString('base64')
  const request = await wire.read(req, body)
  const { images, study } = request
  entry.study = study
  entry.first = request.first
  entry.images = images.map(image => image.index)
  if (random() < behaviour.reset) return req.socket.destroy()
  if (behaviour.latency) await sleep(latencyOf(behaviour.latency))
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
    if (random() < behaviour.drop) continue
    if (random() < behaviour.failImages) results.push({ index: image.index, error: 'inference failed' })
    else
      results.push({
        index: behaviour.foreign ? image.index + 100_000 : image.index,
        findings: found(image),
        ...(behaviour.heatmaps ? { heatmap: heatmapOf(image) } : {}),
        score: behaviour.score,
      })
  }
  entry.answered = results.length
  const written = wire.write(req, results, request)
  if (written.bytes)
    return res
      .writeHead(200, {
        'Content-Type': 'application/octet-stream',
        'Inference-Header-Content-Length': String(written.length),
      })
      .end(written.bytes)
  if (behaviour.slowBody) {
    const text = JSON.stringify(written)
    res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': String(text.length) })
    res.write(text.slice(0, 10))
    await sleep(behaviour.slowBody)
    return res.end(text.slice(10))
  }
  if (behaviour.later) {
    jobs.set(String(jobs.size + 1), { at: Date.now() + behaviour.later, written })
    return json(res, 202, { status: 'queued', status_url: `/jobs/${jobs.size}` }, { 'Retry-After': '0' })
  }
  return json(res, 200, written)
}

/** Answers that take longer than a request. */
const jobs = new Map()
function job(req, res) {
  const { at, written } = jobs.get(req.url.split('/').at(-1)) ?? {}
  if (!written) return json(res, 404, { error: 'no such job' })
  if (Date.now() < at) return json(res, 202, { status: 'running', status_url: req.url })
  return json(res, 200, written)
}

/** Trainings: POST begins one, GET lists them, and the events of one end when it does. */
const trainings = []
async function training(req, res, body) {
  const id = /^\/fine-tuning\/jobs\/([^/]+)\/events$/.exec(req.url)?.[1]
  if (id) {
    if (!trainings.some(entry => entry.id === id)) return json(res, 404, { error: 'no such job' })
    res.writeHead(200, { 'Content-Type': 'text/event-stream' })
    for (const data of [
      { status: 'running', message: 'epoch 1' },
      { status: behaviour.trainingFails ? 'failed' : 'succeeded' },
    ])
      res.write(`data: ${JSON.stringify(data)}\n\n`)
    return res.end()
  }
  if (req.method !== 'POST') return json(res, 200, { jobs: trainings })
  const form = await new Response(body, { headers: { 'Content-Type': req.headers['content-type'] } }).formData()
  const files = form.getAll('files').map(file => file.name)
  const job = {
    id: `ft-${trainings.length + 1}`,
    status: 'queued',
    files,
    ...JSON.parse(await form.get('request').text()),
  }
  trainings.push(job)
  return json(res, 201, job)
}

/** Log-normal: most answers are near the median, a few far from it. */
function latencyOf(latency) {
  if (!Array.isArray(latency)) return latency
  const [median, spread] = latency
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  return median * Math.exp((Math.log(spread) / 2) * normal)
}

function heatmapOf({ rows, columns }) {
  const values = Float32Array.from({ length: rows * columns }, (_, i) => i / (rows * columns))
  return { label: 'Saliency', rows, columns, values: Buffer.from(values.buffer).toString('base64') }
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
