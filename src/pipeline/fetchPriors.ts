import { DicomwebReader } from '../delivery/index.js'
import { textOf } from '../dicom/dicomJson.js'
import { parseMediaType } from '../dicomweb/mediaType.js'
import { MultipartSplitter } from '../dicomweb/multipartSplitter.js'
import type { Ingest, InstanceOutcome, InstanceReceiver } from '../ingest/index.js'
import type { StowDestination } from '../platform/endpoints.js'
import type { Log } from '../platform/log.js'
import type { PipelineContext } from './context.js'

/** Source of instances that were fetched from an archive; their studies are not analysed by themselves (settle.ts). */
export const fetchedFrom = (pacs: string) => `prior from ${pacs}`

/** Which earlier examinations are looked for. */
export interface PriorSearch {
  patientId: string
  issuer: string | undefined
  modality: string
  /** `YYYYMMDD`, both included. */
  from: string
  to: string
  max: number
}

/**
 * Fetches earlier examinations of the patient that are not in our archive from another one, the latest first.
 * What cannot be fetched is told in words and left out.
 * @returns the Study Instance UIDs of the fetched
 */
export async function fetchPriors(
  search: PriorSearch,
  pacs: { name: string; stow: StowDestination['stow'] },
  { database, ingest }: Pick<PipelineContext, 'database' | 'ingest'>,
  log: Log,
): Promise<{ fetched: string[]; problems: string[] }> {
  const reader = new DicomwebReader(pacs.stow)
  const fetched: string[] = []
  const problems: string[] = []
  try {
    const found = await reader.searchStudies({
      PatientID: search.patientId,
      ...(search.issuer ? { IssuerOfPatientID: search.issuer } : {}),
      ModalitiesInStudy: search.modality,
      StudyDate: `${search.from}-${search.to}`,
      includefield: '00080020',
    })
    // A server may ignore what it does not know: what it answers is checked.
    const studies = found
      .map(study => ({
        uid: textOf(study, '0020000D') ?? '',
        date: textOf(study, '00080020') ?? '',
        patient: textOf(study, '00100020'),
      }))
      .filter(
        ({ uid, date, patient }) =>
          uid && date >= search.from && date <= search.to && (patient === undefined || patient === search.patientId),
      )
      .sort((a, b) => (a.date < b.date ? 1 : -1))
      .slice(0, search.max)
    const { rows } = await database.query<{ uid: string }>(
      'select study_instance_uid uid from study where study_instance_uid = any ($1)',
      [studies.map(study => study.uid)],
    )
    const here = new Set(rows.map(row => row.uid))
    for (const { uid } of studies) {
      if (here.has(uid)) continue
      try {
        await fetchInto(await reader.retrieve(`/studies/${uid}`), uid, ingest, fetchedFrom(pacs.name))
        fetched.push(uid)
      } catch (error) {
        problems.push((error as Error).message)
      }
    }
  } catch (error) {
    problems.push(`${pacs.name}: ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`)
  } finally {
    await reader.close()
  }
  log.info('earlier examinations were fetched', { from: pacs.name, fetched: fetched.length, problems })
  return { fetched, problems }
}

/** So many instances are being made durable at the same time; more make the sender wait. */
const maxInFlight = 16

/** Takes in the instances of a multipart answer. @returns their number @throws Error in words if one could not be stored, or there is none */
export async function fetchInto(
  { contentType, body }: { contentType: string; body: AsyncIterable<Buffer> },
  study: string,
  ingest: Ingest,
  source: string,
): Promise<number> {
  const boundary = parseMediaType(contentType)?.parameters.boundary
  if (!boundary) throw new Error('an answer of WADO-RS is no multipart')
  const outcomes: Promise<InstanceOutcome>[] = []
  const inFlight = new Set<Promise<InstanceOutcome>>()
  let current: InstanceReceiver | undefined
  const splitter = new MultipartSplitter(boundary, {
    partBegin: () => {
      current = ingest.begin()
    },
    partData: bytes => current?.write(bytes),
    partEnd: () => {
      const outcome = ingest.finish(current!, { source, study })
      current = undefined
      outcomes.push(outcome)
      inFlight.add(outcome)
      void outcome.finally(() => inFlight.delete(outcome)).catch(() => {})
    },
  })
  try {
    for await (const chunk of body) {
      await splitter.write(chunk)
      while (inFlight.size >= maxInFlight) await Promise.race(inFlight)
    }
    splitter.end()
  } finally {
    await current?.abort()
  }
  const results = await Promise.all(outcomes)
  const refused = results.filter(({ outcome }) => outcome !== 'stored' && outcome !== 'already-stored')
  if (refused.length > 0 || results.length === 0)
    throw new Error(`${refused.length} of ${results.length} instances that were fetched could not be stored`)
  return results.length
}
