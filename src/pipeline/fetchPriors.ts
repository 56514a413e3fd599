import { textOf } from '../dicom/dicomJson.js'
import type { Log } from '../platform/log.js'
import type { PipelineContext } from './context.js'
import { openArchive } from './remoteArchive.js'

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
  pacs: string,
  context: PipelineContext,
  log: Log,
): Promise<{ fetched: string[]; problems: string[] }> {
  const { database } = context
  const archive = openArchive(pacs, context)
  if (!archive) return { fetched: [], problems: [`${pacs} is no longer configured`] }
  const fetched: string[] = []
  const problems: string[] = []
  try {
    const found = await archive.searchStudies(
      {
        PatientID: search.patientId,
        ...(search.issuer ? { IssuerOfPatientID: search.issuer } : {}),
        ModalitiesInStudy: search.modality,
        StudyDate: `${search.from}-${search.to}`,
      },
      ['StudyInstanceUID', 'StudyDate'],
    )
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
        await archive.fetch({ study: uid }, fetchedFrom(pacs))
        fetched.push(uid)
      } catch (error) {
        problems.push((error as Error).message)
      }
    }
  } catch (error) {
    problems.push(`${pacs}: ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`)
  } finally {
    await archive.close()
  }
  log.info('earlier examinations were fetched', { from: pacs, fetched: fetched.length, problems })
  return { fetched, problems }
}
