import { DicomwebReader } from '../delivery/index.js'
import { type DicomJson, textOf } from '../dicom/dicomJson.js'
import { parseMediaType } from '../dicomweb/mediaType.js'
import { MultipartSplitter } from '../dicomweb/multipartSplitter.js'
import { peerOf } from '../dimse/openAssociation.js'
import { QueryScu, type Wanted } from '../dimse/queryScu.js'
import { StoreScp } from '../dimse/storeScp.js'
import type { Ingest, InstanceOutcome, InstanceReceiver } from '../ingest/index.js'
import type { Database } from '../platform/database.js'
import type { DimseDestination } from '../platform/endpoints.js'
import type { PipelineContext } from './context.js'

/** Another archive, that is asked for studies and gives them, by DICOMweb or DIMSE. Errors are in words, and hold nothing of what was searched for. */
export interface RemoteArchive {
  /** @param query matching keys by keyword @param keys what is wanted of the matches, by keyword */
  searchStudies(query: Readonly<Record<string, string>>, keys: readonly string[]): Promise<DicomJson[]>
  /** Series and SOP Instance UIDs of a study, at least. */
  searchInstances(study: string): Promise<DicomJson[]>
  /** Brings objects into our archive, where they count for this source. @returns how many came */
  fetch(wanted: Wanted, source: string): Promise<number>
  close(): Promise<void>
}

type Context = Pick<PipelineContext, 'endpoints' | 'database' | 'ingest' | 'aeTitle' | 'log'>

/** The archive behind a destination. @returns undefined if it is a folder, or not configured any more */
export function openArchive(name: string, context: Context): RemoteArchive | undefined {
  const destination = context.endpoints.destinations.find(entry => entry.name === name)
  if (!destination) return undefined
  if ('stow' in destination) return overDicomweb(new DicomwebReader(destination.stow), context.ingest)
  return 'dimse' in destination ? overDimse(destination.dimse, context) : undefined
}

function overDicomweb(reader: DicomwebReader, ingest: Ingest): RemoteArchive {
  return {
    searchStudies: (query, keys) => reader.searchStudies({ ...query, includefield: keys.join(',') }),
    searchInstances: study => reader.searchInstances(study),
    async fetch({ study, series, instance }, source) {
      const path = `/studies/${study}${series ? `/series/${series}` : ''}${instance ? `/instances/${instance}` : ''}`
      return fetchInto(await reader.retrieve(path), study, ingest, source)
    },
    close: () => reader.close(),
  }
}

/** A transfer that was asked for is expected for so long. */
const expectedHours = 6

function overDimse(destination: DimseDestination['dimse'], context: Context): RemoteArchive {
  const scu = new QueryScu(peerOf(destination, context.aeTitle))
  return {
    searchStudies: (query, keys) => scu.searchStudies(query, keys),
    searchInstances: study => scu.searchInstances(study),
    async fetch(wanted, source) {
      const { completed, failed } =
        destination.retrieve === 'get'
          ? await scu.get(wanted, await classesOf(scu, wanted.study), receptionFor(source, context))
          : await moveToUs(scu, wanted, source, context)
      if (failed > 0 || completed === 0)
        throw new Error(`${failed} of ${failed + completed} instances that were asked for did not come`)
      return completed
    },
    close: () => scu.close(),
  }
}

async function classesOf(scu: QueryScu, study: string): Promise<string[]> {
  const classes = (await scu.searchInstances(study)).map(entry => textOf(entry, '00080016'))
  return [...new Set(classes.filter(uid => uid !== undefined))]
}

const receptionFor = (source: string, { ingest, log }: Context) => new StoreScp({ ingest, log, source })

/** What comes by C-MOVE comes over associations of the other side, maybe to another node: which source it counts for is written down before. */
async function moveToUs(scu: QueryScu, wanted: Wanted, source: string, { database, aeTitle }: Context) {
  await database.query(
    `insert into expected_transfer (study_instance_uid, source, until) values ($1, $2, now() + $3 * interval '1 hour')
     on conflict (study_instance_uid) do update set source = excluded.source, until = excluded.until`,
    [wanted.study, source, expectedHours],
  )
  return scu.move(wanted, aeTitle)
}

/** The source that an instance counts for which arrives on our behalf; undefined: nobody asked for this study. */
export async function expectedSource(database: Database, study: string): Promise<string | undefined> {
  const { rows } = await database.query<{ source: string }>(
    'select source from expected_transfer where study_instance_uid = $1 and until > now()',
    [study],
  )
  return rows[0]?.source
}

/** So many instances are being made durable at the same time; more make the sender wait. */
const maxInFlight = 16

/** Takes in the instances of a multipart answer. @returns their number @throws Error in words if one could not be stored, or there is none */
async function fetchInto(
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
      current = ingest.begin(source)
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
