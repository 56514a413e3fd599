import { setTimeout as sleep } from 'node:timers/promises'
import { mayNamePatient } from '../../../privacy/burnedIn.js'
import { pseudonymousUid } from '../../../privacy/deidentify.js'
import type { Finding, Findings, ImageReference } from '../../findings.js'
import type { NormalizedImage, NormalizedStudy, StudyObject } from '../../normalizedStudy.js'
import { type Analysis, type Provider, ProviderProblem } from '../../provider.js'
import { deidentification } from '../deidentification.js'

export interface DicomProviderSettings {
  name: string
  deidentify: 'basic' | 'basic+retain-longitudinal' | 'none'
  /** An answer is complete when nothing more has come for so long. */
  quietSeconds: number
  /** Key of the pseudonyms. */
  pseudonymKey: string
}

/** How objects go to the provider and come back: by whatever transport is configured. */
export interface DicomTransport {
  send(object: StudyObject): Promise<{ outcome: 'delivered' | 'failed' | 'refused'; detail: string }>
  /** Time by the clock that answers are dated with. */
  now(): Promise<Date>
  /** How many objects the provider answered about a study, by the UID that it knows, since then; `quietFor`: seconds since the last one came. */
  count(studyInstanceUid: string, since: Date): Promise<{ count: number; quietFor: number }>
  /** What they say; undefined while no report is among them. @throws ProviderProblem */
  read(studyInstanceUid: string, since: Date): Promise<Findings | undefined>
  close(): Promise<void>
}

const pollMilliseconds = 250
const maxTries = 4

/** A client of an AI product that takes DICOM objects and sends DICOM objects: Structured Reports and Segmentations are read into findings. */
export function dicomProvider(settings: DicomProviderSettings, transport: DicomTransport): Provider {
  return {
    name: settings.name,
    analyze: (study, signal, onProgress) => analyze(study, signal, onProgress, settings, transport),
    close: () => transport.close(),
  }
}

async function analyze(
  study: NormalizedStudy,
  signal: AbortSignal,
  onProgress: Parameters<Provider['analyze']>[2],
  settings: DicomProviderSettings,
  transport: DicomTransport,
): Promise<Analysis> {
  const images = study.series.flatMap(series => series.images)
  const problem = notSendable(images, settings)
  if (problem) return { findings: notApplicable(settings.name, problem) }
  const deidentify = deidentification(images[0]!, settings)
  const since = await transport.now() // what came before was about an earlier revision
  const of = new Set(images.map(image => image.sopInstanceUid)).size
  let done = 0
  let sentAs = study.studyInstanceUid
  for await (const object of study.objects(deidentify)) {
    signal.throwIfAborted()
    await sendSurely(object, transport, signal)
    sentAs = object.studyInstanceUid
    onProgress?.({ done: ++done, of, findings: 0 })
  }
  for (let looked = 0; ; ) {
    const { count, quietFor } = await transport.count(sentAs, since)
    // Objects are read when something has come since they were last.
    if (count > looked && quietFor >= settings.quietSeconds) {
      looked = count
      const findings = await transport.read(sentAs, since)
      if (findings) {
        const known = deidentify ? reidentified(findings, images, deidentify.key) : findings
        return { findings: known, usage: { requests: done, units: done } }
      }
    }
    await sleep(pollMilliseconds, undefined, { signal })
  }
}

function notSendable(images: readonly NormalizedImage[], { deidentify }: DicomProviderSettings): string | undefined {
  if (images.length === 0) return 'the study holds no image that can be decoded'
  if (deidentify === 'none') return undefined
  // A product that takes studies is not given half of one.
  const why = images.map(image => mayNamePatient(image.header)).find(reason => reason)
  return why && `not sent, since the pixels of images may name the patient: ${why}`
}

function notApplicable(name: string, reason: string): Findings {
  return {
    algorithm: { name, version: 'unknown', manufacturer: 'unknown' },
    status: 'not-applicable',
    reason,
    lookedFor: [],
    items: [],
  }
}

async function sendSurely(object: StudyObject, transport: DicomTransport, signal: AbortSignal): Promise<void> {
  let detail = ''
  for (let attempt = 1; attempt <= maxTries; attempt++) {
    const outcome = await transport.send(object)
    if (outcome.outcome === 'delivered') return
    detail = outcome.detail
    if (outcome.outcome === 'refused') throw new ProviderProblem(`the provider refused an image: ${detail}`, false)
    if (attempt < maxTries) await sleep(250 * 2 ** attempt * (0.5 + Math.random()), undefined, { signal })
  }
  throw ProviderProblem.away(`images could not be sent: ${detail}`, 30)
}

/** The findings with the UIDs of our images in the place of those that the provider knows; what it refers to beside stays, and is then found out to be foreign. */
function reidentified(findings: Findings, images: readonly NormalizedImage[], key: string): Findings {
  const known = new Map(images.map(({ sopInstanceUid: uid }) => [pseudonymousUid(key, uid), uid]))
  const image = <T extends ImageReference>(reference: T): T => ({
    ...reference,
    sopInstanceUid: known.get(reference.sopInstanceUid) ?? reference.sopInstanceUid,
  })
  return {
    ...findings,
    items: findings.items.map(
      (item): Finding => ({
        ...item,
        regions: item.regions.map(image),
        ...(item.sources ? { sources: item.sources.map(image) } : {}),
        ...(item.mask ? { mask: { ...item.mask, slices: item.mask.slices.map(image) } } : {}),
      }),
    ),
  }
}
