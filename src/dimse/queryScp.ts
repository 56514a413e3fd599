import { QueryProblem, searchInstances, searchPatients, searchSeries, searchStudies } from '../archive/index.js'
import { type DicomJson, type PersonName, textOf } from '../dicom/dicomJson.js'
import type { Database } from '../platform/database.js'
import type { Operation, OperationHandler } from './association.js'
import { status } from './command.js'
import { service } from './sopClasses.js'

const searches = { PATIENT: searchPatients, STUDY: searchStudies, SERIES: searchSeries, IMAGE: searchInstances }
type Level = keyof typeof searches

/** What a query says of itself, and is no key. */
const noKeys = new Set(['00080005', '00080052', '00080053', '00080054', '00080056'])
const pageSize = 500

/** C-FIND as SCP, Patient Root and Study Root (PS3.4 C.4.1): the same index and matching as QIDO-RS. */
export function findOperation(database: Database, aeTitle: string): OperationHandler {
  return async operation => {
    const query = operation.dataSet()
    const level = levelOf(operation, query)
    if (!level) {
      const comment = 'Query/Retrieve Level (0008,0052) is none of this information model'
      return operation.respond(status.identifierDoesNotMatch, { comment })
    }
    const keys = Object.keys(query).filter(tag => !noKeys.has(tag))
    const parameters = keys.map(tag => [tag, matchOf(query, tag)] as const).filter(([, match]) => match !== '')
    const include = ['includefield', keys.join(',')] as const
    try {
      for (let offset = 0; ; offset += pageSize) {
        const page = await searches[level](database, {
          parameters: [...parameters, include, ['limit', String(pageSize)], ['offset', String(offset)]],
        })
        for (const result of page.results) {
          if (operation.ended.aborted) return operation.respond(status.cancelled)
          await operation.respond(status.pending, { dataSet: answerOf(result, query, keys, level, aeTitle) })
        }
        if (page.results.length < pageSize) break
      }
    } catch (error) {
      if (!(error instanceof QueryProblem)) throw error
      return operation.respond(status.identifierDoesNotMatch, { comment: error.message })
    }
    await operation.respond(status.success)
  }
}

/** @returns undefined if the information model has no such level */
export function levelOf({ context }: Operation, query: DicomJson): Level | undefined {
  const level = textOf(query, '00080052')?.trim() ?? ''
  if (!Object.hasOwn(searches, level)) return undefined
  const patientRoot: readonly string[] = [service.patientRootFind, service.patientRootMove, service.patientRootGet]
  return level === 'PATIENT' && !patientRoot.includes(context.abstractSyntax) ? undefined : (level as Level)
}

/** The value that a key is to match; empty: any (PS3.4 C.2.2.2). */
function matchOf(query: DicomJson, tag: string): string {
  const values = query[tag]?.Value ?? []
  if (query[tag]?.vr === 'SQ') return ''
  return values
    .map(value => (value !== null && typeof value === 'object' ? nameOf(value as PersonName) : String(value ?? '')))
    .join('\\')
}

const nameOf = ({ Alphabetic = '', Ideographic = '', Phonetic = '' }: PersonName) =>
  Alphabetic || Ideographic || Phonetic

/** The keys that were asked for, empty where there is nothing (PS3.4 C.4.1.1.3.2). */
function answerOf(
  result: DicomJson,
  query: DicomJson,
  keys: readonly string[],
  level: Level,
  aeTitle: string,
): DicomJson {
  return {
    '00080005': { vr: 'CS', Value: ['ISO_IR 192'] },
    '00080052': { vr: 'CS', Value: [level] },
    '00080054': { vr: 'AE', Value: [aeTitle] },
    '00080056': { vr: 'CS', Value: ['ONLINE'] },
    ...Object.fromEntries(keys.map(tag => [tag, result[tag] ?? { vr: query[tag]!.vr }])),
  }
}
