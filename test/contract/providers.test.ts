import { readFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { z } from 'zod'
import { startPreparation } from '../../src/analysis/calling/preparation.js'
import { findingsSchema } from '../../src/analysis/findingsSchema.js'
import type { NormalizedImage, NormalizedStudy } from '../../src/analysis/normalizedStudy.js'
import { misplaced } from '../../src/analysis/placement.js'
import type { Provider } from '../../src/analysis/provider.js'
import { createHttpProvider } from '../../src/analysis/providers/createHttpProvider.js'
import { documentedAnswers as imagingRestAnswers } from '../../src/analysis/providers/imaging-rest/wire.js'
import { documentedAnswers as openAiAnswers } from '../../src/analysis/providers/openai/wire.js'
import type { HttpProviderSettings } from '../../src/platform/providerSettings.js'
import { parseEndpoints } from '../../src/platform/readEndpoints.js'
import { startTestDatabase } from '../fixtures/database.js'
import { type FakeProvider, startFakeProvider } from '../fixtures/fakeProvider.js'

/** What every client of a remote provider does, whatever it speaks. */
let base: Awaited<ReturnType<typeof startTestDatabase>>
let fake: FakeProvider
let preparation: ReturnType<typeof startPreparation>
beforeAll(async () => {
  base = await startTestDatabase()
  fake = await startFakeProvider()
  preparation = startPreparation(1)
})
afterAll(async () => {
  await preparation?.close()
  await base?.stop()
  fake?.stop()
})
const opened: Provider[] = []
beforeEach(async () => {
  await fake.behave({})
  await fake.log()
})
afterEach(async () => void (await Promise.all(opened.splice(0).map(provider => provider.close()))))

const kinds: Record<string, { yaml: string; byImage: boolean }> = {
  'imaging-rest, batches': { yaml: 'kind: imaging-rest\n    chunk: 10', byImage: true },
  'imaging-rest, one by one': { yaml: 'kind: imaging-rest\n    endpoint: analyze', byImage: true },
  'imaging-rest, PNG': { yaml: 'kind: imaging-rest\n    chunk: 10\n    format: png', byImage: true },
  openai: { yaml: 'kind: openai\n    model: fake\n    chunk: 5', byImage: true },
  kserve: {
    yaml: `kind: kserve
    model: fake
    chunk: 10
    input: { name: IN, rows: 32, columns: 32, window: { center: 0, width: 100 } }
    outputs: [{ kind: boxes, output: boxes, scores: box_scores, labels: [nodule] }]`,
    byImage: false,
  },
}

let providers = 0
function client(yaml: string, more = '', maxRetries = 12): Provider {
  const { providers: list } = parseEndpoints(
    `providers:
  - name: p${++providers}
    ${yaml}
    baseUrl: ${fake.url}
    timeoutSeconds: 2
    maxRetries: ${maxRetries}
    breaker: { failures: 1000 }
    labels: { nodule: { scheme: SCT, value: '27925004', meaning: Nodule } }
    ${more}
`,
    'endpoints.yaml',
  )
  const settings = list[0] as HttpProviderSettings
  const parts = { database: base.database, ...preparation, pseudonymKey: 'a key' }
  const provider = createHttpProvider(settings, parts)
  opened.push(provider)
  return provider
}

const secrets = ['Geheim^Hannelore', 'PID-4711-X', '1.2.826.77', '19570321']
let studies = 0
function studyOf(slices: number, over: Partial<NormalizedImage> = {}): NormalizedStudy {
  const uid = `${secrets[2]}.${++studies}`
  const header = {
    '00080060': { vr: 'CS', Value: ['CT'] },
    '00100010': { vr: 'PN', Value: [{ Alphabetic: secrets[0]! }] },
    '00100020': { vr: 'LO', Value: [secrets[1]!] },
    '00100030': { vr: 'DA', Value: [secrets[3]!] },
    '00280010': { vr: 'US', Value: [16] },
    '00280011': { vr: 'US', Value: [24] },
  }
  const images = Array.from({ length: slices }, (_, i) => ({
    sopInstanceUid: `${uid}.1.${i}`,
    sopClassUid: '1.2.840.10008.5.1.4.1.1.2',
    frame: 1,
    rows: 16,
    columns: 24,
    imageType: [],
    rescale: { slope: 1, intercept: -1024, unit: 'HU' },
    header,
    pixels: async () => ({
      samples: Uint16Array.from({ length: 16 * 24 }, (_, n) => 1024 + (n % 50)),
      photometric: 'MONOCHROME2',
      bitsStored: 12,
      signed: false,
    }),
    ...over,
  }))
  return {
    studyInstanceUid: uid,
    revision: 1,
    undecodable: [],
    objects: async function* () {},
    series: [{ seriesInstanceUid: `${uid}.1`, modality: 'CT', images }],
  }
}
const signal = new AbortController().signal

describe.each(Object.entries(kinds))('%s', (_, { yaml, byImage }) => {
  const open = (maxRetries = 12) => client(yaml, '', maxRetries)

  test('what is found lies on its image and has its code, and the model is named', async () => {
    const box = yaml.includes('kserve') ? [8, 8, 16, 24] : [6, 4, 12, 12] // of the 32 × 32 that the network is given
    await fake.behave({ findings: { 3: [{ label: 'nodule', confidence: 0.75, box }] }, version: '7.1' })
    const study = studyOf(5)
    const { findings, usage } = await open().analyze(study, signal)
    expect(findingsSchema.parse(findings)).toBeTruthy()
    const [item] = findings.items
    expect(findings.status).toBe('findings')
    expect(item).toMatchObject({ type: { value: '27925004', scheme: 'SCT' }, probability: 0.75 })
    expect(item!.regions[0]).toEqual({
      sopInstanceUid: study.series[0]!.images[3]!.sopInstanceUid,
      points: [
        [6, 4],
        [12, 4],
        [12, 12],
        [6, 12],
        [6, 4],
      ],
    })
    const header = study.series[0]!.images[0]!.header
    expect(misplaced(findings, () => header)).toBeUndefined()
    expect(findings.algorithm.version).toContain('7.1')
    expect(usage!.units).toBeGreaterThan(0)
  })

  test('text that a database cannot hold is mended where it comes in', async () => {
    if (!byImage) return
    await fake.behave({ findings: [{ label: 'odd\0\ud800', box: [1, 1, 4, 4] }] })
    const { findings } = await open().analyze(studyOf(1), signal)
    const { rows } = await base.database.query('select $1::jsonb #>> $2 as meaning', [
      JSON.stringify(findings),
      ['items', '0', 'type', 'meaning'],
    ])
    expect(rows[0].meaning).toBe('odd\ufffd\ufffd')
  })

  test('nothing found is said of all that was looked for', async () => {
    const { findings } = await open().analyze(studyOf(12), signal)
    expect(findings).toMatchObject({ status: 'no-findings', items: [] })
    expect(findings.lookedFor.map(concept => concept.value)).toEqual(['27925004'])
  })

  test('silently dropped images and failing requests: all are answered in the end', async () => {
    await fake.behave({ drop: 0.3, failRequests: 0.1, failImages: byImage ? 0.1 : 0 })
    const { findings } = await open().analyze(studyOf(byImage ? 20 : 2), signal)
    expect(findings.status).toBe('no-findings')
  })

  test('what never gets an answer makes the study incomplete, and nothing is said to be absent', async () => {
    if (!byImage) return
    await fake.behave({ drop: 1, findings: [] })
    const analysis = open(2).analyze(studyOf(1), AbortSignal.timeout(20_000))
    const { findings } = await analysis
    expect(findings).toMatchObject({ status: 'incomplete', items: [] })
    expect(findings.reason).toContain('1 of 1 images have no result')
  })

  test('an answer that is no JSON, or about something else, is no result', async () => {
    await fake.behave({ json: '{"results": [' })
    const wrong = open(2).analyze(studyOf(1), signal)
    await expect(wrong).rejects.toThrow(/no request succeeded/)
  })

  test('a place outside of the image is no result', async () => {
    await fake.behave({ outside: true, findings: [] })
    if (yaml.includes('kserve')) await fake.behave({ findings: [{ label: 'nodule', box: [0, 0, 60, 10] }] })
    const { findings } = await open(2).analyze(studyOf(1), signal)
    expect(findings.status).toBe('incomplete')
    expect(findings.reason).toContain('outside')
  })

  test('a refusal ends it at once', async () => {
    await fake.behave({ status: 403 })
    await expect(open().analyze(studyOf(3), signal)).rejects.toMatchObject({ retryable: false })
    expect((await fake.log()).length).toBeLessThanOrEqual(3)
  })

  test('a hard rate limit is obeyed', async () => {
    await fake.behave({ limit: 3 })
    const { findings } = await open().analyze(studyOf(10), signal)
    expect(findings.status).toBe('no-findings')
  })

  test('connections that are cut and slow answers are asked again', async () => {
    await fake.behave({ reset: 0.4, slowBody: 50 })
    const { findings } = await open().analyze(studyOf(8), signal)
    expect(findings.status).toBe('no-findings')
  })

  test('nobody waits any more: it ends', async () => {
    await fake.behave({ latency: 1500 })
    const stop = new AbortController()
    const running = open().analyze(studyOf(2), stop.signal)
    setTimeout(() => stop.abort(new Error('superseded')), 100)
    await expect(running).rejects.toThrow(/superseded|aborted/)
  })

  test('a provider that is known to be away is not called', async () => {
    await fake.behave({ status: 503 })
    const provider = open().name
    await base.database.query(
      `insert into provider_gate (provider, open_until) values ($1, now() + interval '1 minute')`,
      [provider],
    )
    await expect(opened.at(-1)!.ready!()).rejects.toMatchObject({ retryable: true })
    expect(await fake.log()).toEqual([])
  })

  test('no identifying value is in what is sent', async () => {
    await fake.behave({ keepBodies: true })
    await open().analyze(studyOf(3), signal)
    const bodies = (await fake.log()).map(entry => Buffer.from(entry.body!, 'base64'))
    expect(bodies.length).toBeGreaterThan(0)
    for (const body of bodies)
      for (const secret of secrets)
        for (const form of [
          Buffer.from(secret),
          Buffer.from(secret, 'utf16le'),
          Buffer.from(Buffer.from(secret).toString('base64').slice(0, -4)),
        ])
          expect(body.includes(form)).toBe(false)
  })

  test('images whose pixels may name the patient are not sent', async () => {
    const study = studyOf(2)
    study.series[0]!.images[0]!.header['00280301'] = { vr: 'CS', Value: ['YES'] }
    const { findings } = await open().analyze(study, signal)
    expect(findings.status).toBe('not-applicable')
    expect(await fake.log()).toEqual([])
  })
})

describe('imaging-rest', () => {
  test('an answer that comes later is asked for until it is there', async () => {
    await fake.behave({ later: 300, findings: { 1: [{ label: 'nodule' }] } })
    const { findings, usage } = await client('kind: imaging-rest').analyze(studyOf(3), signal)
    expect(findings.items).toHaveLength(1)
    expect(usage!.requests).toBeGreaterThan(1)
  })

  test('the field names of a vendor are mapped by configuration', async () => {
    await fake.behave({
      vendor: true,
      failImages: 0.2,
      findings: { 1: [{ label: 'nodule', confidence: 0.5, box: [2, 3, 8, 9] }] },
    })
    const mapping = `mapping:
      model: { name: $.ai.product, version: $.ai.release, manufacturer: { constant: Vendor } }
      units: $.billing.images
      results: $.data
      index: $.image_no
      error: $.failure
      findings: $.objects
      finding:
        label: $.class
        confidence: { path: $.score, times: 0.01 }
        box: { left: $.rect.x, top: $.rect.y, width: $.rect.w, height: $.rect.h }
      words: { '7': nodule }`
    const { findings, usage } = await client('kind: imaging-rest', mapping).analyze(studyOf(4), signal)
    expect(findings.algorithm).toEqual({ name: 'Fake Detector', version: '1.0.0', manufacturer: 'Vendor' })
    expect(findings.items[0]).toMatchObject({ type: { value: '27925004' }, probability: 0.5 })
    expect(findings.items[0]!.regions[0]!.points[2]).toEqual([8, 9])
    expect(usage!.units).toBeGreaterThanOrEqual(4)
  })

  test('heat maps come with their images', async () => {
    await fake.behave({ heatmaps: true })
    const { findings } = await client('kind: imaging-rest', 'heatmaps: true').analyze(studyOf(2), signal)
    expect(findings.maps).toHaveLength(1)
    expect(findings.maps![0]!.slices).toHaveLength(2)
    expect(Buffer.from(findings.maps![0]!.slices[1]!.values, 'base64').length).toBe(16 * 24 * 4)
  })
})

describe('openai', () => {
  test('of a long series some images are shown, evenly spaced, and nothing is said of the others', async () => {
    const { findings } = await client('kind: openai\n    model: fake', 'frames: 4').analyze(studyOf(40), signal)
    const asked = (await fake.log()).flatMap(entry => entry.images!)
    expect(asked.sort()).toEqual([0, 1, 2, 3])
    expect(findings).toMatchObject({ status: 'no-findings', lookedFor: [] })
    expect(findings.conclusion).toBe('Only 4 of 40 images were looked at.')
    expect(findings.algorithm.parameters).toMatch(/prompt and schema [0-9a-f]{8}, temperature 0/)
  })

  test('an answer that was cut off is asked for in smaller parts; a refusal is no result', async () => {
    await fake.behave({ cutOff: 1 })
    const { findings } = await client('kind: openai\n    model: fake\n    chunk: 4').analyze(studyOf(4), signal)
    expect(findings.status).toBe('no-findings')
    await fake.behave({ refusal: 'I cannot help with that' })
    await expect(client('kind: openai\n    model: fake', '', 2).analyze(studyOf(1), signal)).rejects.toThrow(
      'refused to answer',
    )
  })

  test('places on a picture that was made smaller are given back in the pixels of the image', async () => {
    const large = {
      rows: 256,
      columns: 512,
      pixels: async () => ({
        samples: new Uint16Array(256 * 512),
        photometric: 'MONOCHROME2',
        bitsStored: 12,
        signed: false,
      }),
    }
    await fake.behave({ findings: [{ label: 'nodule', box: [10, 20, 64, 32] }] })
    const { findings } = await client('kind: openai\n    model: fake', 'maxSide: 64').analyze(studyOf(1, large), signal)
    expect(findings.items[0]!.regions[0]!.points.slice(0, 3)).toEqual([
      [80, 160],
      [512, 160],
      [512, 256],
    ])
  })
})

test('kserve: samples go through their window, and a score above the threshold is a finding of the image', async () => {
  await fake.behave({ score: 2 })
  const { findings } = await client(`kind: kserve
    model: fake
    input: { name: IN, rows: 16, columns: 24, window: { center: 0, width: 100 }, mean: 0.5, std: 0.25 }
    outputs: [{ kind: scores, output: scores, labels: [nodule, normal], activation: sigmoid, threshold: 0.4 }]`).analyze(
    studyOf(2),
    signal,
  )
  expect(findings.items.map(item => [item.type.meaning, item.probability!.toFixed(3), item.sources!.length])).toEqual([
    ['Nodule', '0.881', 1],
    ['Nodule', '0.881', 1],
  ])
  // The first sample is 1024 − 1024 = 0 HU: the middle of the window, (0.5 − 0.5) / 0.25.
  expect((await fake.log())[0]).toMatchObject({ first: 0 })
})

test('kserve: an image that is larger than the input is looked at in patches', async () => {
  await fake.behave({
    findings: {
      0: [{ label: 'nodule', confidence: 0.9, box: [2, 3, 10, 9] }],
      2: [{ label: 'nodule', confidence: 0.7, box: [0, 3, 4, 9] }],
    },
  })
  const { findings, usage } = await client(`kind: kserve
    model: fake
    input: { name: IN, rows: 16, columns: 12, window: { center: 0, width: 100 } }
    patches: { overlap: 4 }
    outputs: [{ kind: boxes, output: boxes, scores: box_scores, labels: [nodule] }]`).analyze(studyOf(1), signal)
  // 24 columns by parts of 12 that overlap by 4 at least: at 0, 6 and 12. The third part's box lies at 12 to 16.
  expect(usage!.units).toBe(3)
  expect(findings.items.map(item => item.regions[0]!.points.slice(0, 3))).toEqual([
    [
      [2, 3],
      [10, 3],
      [10, 9],
    ],
    [
      [12, 3],
      [16, 3],
      [16, 9],
    ],
  ])
})

test.each([
  ['imaging-rest', imagingRestAnswers],
  ['openai', openAiAnswers],
])('docs/providers/%s.schema.json has the schemas of the code', (kind, answers) => {
  const written = JSON.parse(readFileSync(`docs/providers/${kind}.schema.json`, 'utf8'))
  expect(written.$defs).toEqual(
    Object.fromEntries(
      Object.entries(answers).map(([name, schema]) => [name, z.toJSONSchema(schema, { io: 'input' })]),
    ),
  )
})
