import { type DicomJson, pick } from '../dicom/dicomJson.js'
import { tagOf } from '../dicom/dictionary.js'
import type { Queryable } from '../platform/database.js'
import { instanceLevelTags } from './indexInstances.js'
import { withHeaders } from './packedHeader.js'

/** A query that cannot be answered: `message` says which parameter and why. */
export class QueryProblem extends Error {}

/** A QIDO-RS query (PS3.18 10.6.1), parameters as they stand in the URL. */
export interface QidoQuery {
  parameters: readonly (readonly [string, string])[]
  study?: string
  series?: string
}

export interface Page {
  results: DicomJson[]
  /** The answer was cut by the service's own limit: there are more. */
  truncated: boolean
}

const maximumResults = 1000

type Matching = 'uid' | 'text' | 'name' | 'date' | 'modalities'
/** Attributes that can be matched: tag → SQL expression and way of matching. */
const matchable: Readonly<Record<string, { sql: string; by: Matching; level: number }>> = {
  '0020000D': { sql: 's.study_instance_uid', by: 'uid', level: 0 },
  '00080020': { sql: 's.study_date', by: 'date', level: 0 },
  '00080030': { sql: 's.study_time', by: 'date', level: 0 },
  '00080050': { sql: 's.accession_number', by: 'text', level: 0 },
  '00080061': { sql: 's.study_instance_uid', by: 'modalities', level: 0 },
  '00080090': { sql: 's.referring_physician', by: 'name', level: 0 },
  '00081030': { sql: 's.study_description', by: 'text', level: 0 },
  '00100010': { sql: 's.patient_name', by: 'name', level: 0 },
  '00100020': { sql: 's.patient_id', by: 'text', level: 0 },
  '00200010': { sql: 's.study_id', by: 'text', level: 0 },
  '0020000E': { sql: 'e.series_instance_uid', by: 'uid', level: 1 },
  '00080060': { sql: 'e.modality', by: 'text', level: 1 },
  '0008103E': { sql: 'e.series_description', by: 'text', level: 1 },
  '00200011': { sql: 'e.series_number', by: 'text', level: 1 },
  '00080016': { sql: 'i.sop_class_uid', by: 'uid', level: 2 },
  '00080018': { sql: 'i.sop_instance_uid', by: 'uid', level: 2 },
  '00200013': { sql: 'i.instance_number', by: 'text', level: 2 },
}

/** Required return attributes that come from the stored study (PS3.18 table 10.6.3-3); computed ones are added. */
const studyReturn = [
  '00080020',
  '00080030',
  '00080050',
  '00080090',
  '00080201',
  '00100010',
  '00100020',
  '00100030',
  '00100040',
  '0020000D',
  '00200010',
]
const patientReturn = ['00100010', '00100020', '00100021', '00100030', '00100040']
const seriesReturn = ['00080060', '00080201', '0008103E', '0020000E', '00200011', '00400244', '00400245', '00400275']
const instanceReturn = ['00080016', '00080018', '00080201', '00200013', '00280010', '00280011', '00280100', '00280008']
const emptyVr: Readonly<Record<string, string>> = {
  '00080020': 'DA',
  '00080030': 'TM',
  '00080050': 'SH',
  '00080090': 'PN',
  '00100010': 'PN',
  '00100020': 'LO',
  '00100030': 'DA',
  '00100040': 'CS',
  '00200010': 'SH',
  '00080060': 'CS',
  '00200011': 'IS',
  '00200013': 'IS',
}

/** Patients, by what their latest study says of them; for C-FIND, as QIDO-RS has no such level. */
export async function searchPatients(db: Queryable, query: QidoQuery): Promise<Page> {
  const { where, values, limit, offset, include } = readQuery(query, 0)
  const { rows } = await db.query(
    `select attributes, study_count from (
       select distinct on (s.patient_id) s.patient_id, s.attributes,
              (select count(*) from study o where o.patient_id = s.patient_id) study_count
         from study s ${where}${where ? ' and' : ' where'} s.patient_id is not null
        order by s.patient_id, s.study_date desc nulls last) found
      order by patient_id limit ${limit + 1} offset ${offset}`,
    values,
  )
  return page(rows, limit, query, row => ({
    ...select(row.attributes, patientReturn, include),
    '00201200': { vr: 'IS', Value: [Number(row.study_count)] },
  }))
}

export async function searchStudies(db: Queryable, query: QidoQuery): Promise<Page> {
  const { where, values, limit, offset, include } = readQuery(query, 0)
  const { rows } = await db.query(
    `select s.study_instance_uid, s.attributes,
            coalesce((select jsonb_agg(distinct modality) from series e where e.study_instance_uid = s.study_instance_uid), '[]') modalities,
            coalesce((select jsonb_agg(distinct sop_class_uid) from instance i where i.study_instance_uid = s.study_instance_uid), '[]') classes,
            (select count(*) from series e where e.study_instance_uid = s.study_instance_uid) series_count,
            (select count(*) from instance i where i.study_instance_uid = s.study_instance_uid) instance_count
       from study s ${where}
      order by s.study_date desc nulls last, s.study_instance_uid limit ${limit + 1} offset ${offset}`,
    values,
  )
  return page(rows, limit, query, row => ({
    ...select(row.attributes, studyReturn, include),
    '00080061': { vr: 'CS', Value: row.modalities.filter(Boolean) },
    '00080062': { vr: 'UI', Value: row.classes },
    '00201206': { vr: 'IS', Value: [row.series_count] },
    '00201208': { vr: 'IS', Value: [row.instance_count] },
  }))
}

export async function searchSeries(db: Queryable, query: QidoQuery): Promise<Page> {
  const { where, values, limit, offset, include } = readQuery(query, 1)
  const { rows } = await db.query(
    `select s.attributes study_attributes, e.attributes,
            (select count(*) from instance i where i.series_instance_uid = e.series_instance_uid) instance_count
       from series e join study s using (study_instance_uid) ${where}
      order by s.study_date desc nulls last, s.study_instance_uid, e.series_instance_uid limit ${limit + 1} offset ${offset}`,
    values,
  )
  return page(rows, limit, query, row => ({
    ...(query.study ? pick(row.study_attributes, ['0020000D']) : select(row.study_attributes, studyReturn, include)),
    ...select(row.attributes, seriesReturn, include),
    '00201209': { vr: 'IS', Value: [row.instance_count] },
  }))
}

export async function searchInstances(db: Queryable, query: QidoQuery): Promise<Page> {
  const { where, values, limit, offset, include } = readQuery(query, 2)
  const wantsHeader = include.all || [...include.tags].some(tag => !instanceLevelTags.includes(tag))
  const { rows } = await db.query(
    `select s.attributes study_attributes, e.attributes series_attributes, i.attributes, ${wantsHeader ? 'i.header' : 'null'} header
       from instance i join series e using (series_instance_uid) join study s on s.study_instance_uid = e.study_instance_uid ${where}
      order by s.study_date desc nulls last, s.study_instance_uid, e.series_instance_uid, i.sop_instance_uid
      limit ${limit + 1} offset ${offset}`,
    values,
  )
  return page(wantsHeader ? await withHeaders(rows) : rows, limit, query, row => ({
    ...(query.study ? pick(row.study_attributes, ['0020000D']) : select(row.study_attributes, studyReturn, include)),
    ...(query.series
      ? pick(row.series_attributes, ['0020000E'])
      : select(row.series_attributes, seriesReturn, include)),
    ...select(row.header ?? row.attributes, instanceReturn, include),
  }))
}

// biome-ignore lint/suspicious/noExplicitAny: rows of three queries with their own columns
type Row = any

function page(rows: Row[], limit: number, query: QidoQuery, toJson: (row: Row) => DicomJson): Page {
  const asked = query.parameters.find(([name]) => name === 'limit')?.[1]
  const truncated = rows.length > limit && (asked === undefined || Number(asked) > maximumResults)
  return { results: rows.slice(0, limit).map(row => sorted(toJson(row))), truncated }
}

function readQuery(query: QidoQuery, level: number) {
  const conditions: string[] = []
  const values: unknown[] = []
  const bind = (value: unknown) => `$${values.push(value)}`
  if (query.study) conditions.push(`s.study_instance_uid = ${bind(query.study)}`)
  if (query.series) conditions.push(`e.series_instance_uid = ${bind(query.series)}`)
  let limit = maximumResults
  let offset = 0
  const include = { all: false, tags: new Set<string>() }
  const fuzzy = query.parameters.some(([name, value]) => name === 'fuzzymatching' && value === 'true')
  for (const [name, value] of query.parameters) {
    if (name === 'limit') limit = Math.min(natural(name, value), maximumResults)
    else if (name === 'offset') offset = natural(name, value)
    else if (name === 'fuzzymatching') continue
    else if (name === 'includefield') addIncluded(include, value)
    else {
      const condition = matchingCondition(name, value, level, fuzzy, bind)
      if (condition) conditions.push(condition)
    }
  }
  return { where: conditions.length > 0 ? `where ${conditions.join(' and ')}` : '', values, limit, offset, include }
}

function natural(name: string, value: string): number {
  if (!/^[0-9]{1,12}$/.test(value)) throw new QueryProblem(`${name}: expected a whole number from 0 on`)
  return Number(value)
}

function addIncluded(include: { all: boolean; tags: Set<string> }, value: string): void {
  for (const field of value.split(',').filter(Boolean)) {
    if (field === 'all') include.all = true
    else {
      const tag = toTag(field)
      if (tag) include.tags.add(tag)
    }
  }
}

function toTag(field: string): string | undefined {
  return /^[0-9A-Fa-f]{8}$/.test(field) ? field.toUpperCase() : tagOf(field)
}

/** @returns undefined for an attribute that is not matched here; unknown ones are ignored, as PS3.18 8.3.4.1 allows */
function matchingCondition(
  name: string,
  value: string,
  level: number,
  fuzzy: boolean,
  bind: (value: unknown) => string,
): string | undefined {
  const tag = toTag(name)
  const attribute = tag ? matchable[tag] : undefined
  if (!attribute || attribute.level > level || value === '' || value === '*') return undefined
  if (value.includes('\0')) throw new QueryProblem(`${name}: holds a NUL character`)
  const { sql } = attribute
  switch (attribute.by) {
    case 'uid':
      return `${sql} = any (${bind(value.split(/[,\\]/).map(uid => uid.trim()))})`
    case 'modalities':
      return `exists (select from series m where m.study_instance_uid = ${sql} and m.modality = any (${bind(value.split(/[,\\]/))}))`
    case 'date': {
      const [from, to] = value.includes('-')
        ? [value.slice(0, value.indexOf('-')), value.slice(value.indexOf('-') + 1)]
        : [value, value]
      if (!/^[0-9.:]*$/.test(from + to))
        throw new QueryProblem(`${name}: expected a value or a range, for example 20250101-20250131`)
      const bounds = [from && `${sql} >= ${bind(from)}`, to && `${sql} <= ${bind(`${to}~`)}`].filter(Boolean)
      return bounds.length > 0 ? `(${bounds.join(' and ')})` : undefined
    }
    case 'name':
      if (fuzzy) return fuzzyCondition(sql, value, bind)
      return /[*?]/.test(value)
        ? `${sql} ilike ${bind(likePattern(value))}`
        : `lower(${sql}) = any (${bind(nameForms(value))})`
    case 'text':
      return /[*?]/.test(value) ? `${sql} like ${bind(likePattern(value))}` : `${sql} = ${bind(value)}`
  }
}

/**
 * Fuzzy matching of names (PS3.18 8.3.4.2, as we define it): each word is the beginning of a component of the name, in any order, whatever its case and accents. Wildcards
 * stay what they are.
 */
function fuzzyCondition(sql: string, value: string, bind: (value: unknown) => string): string | undefined {
  const words = plain(value)
    .split(/[\s^=,]+/)
    .filter(Boolean)
  const like = words.map(word => `${plainSql(sql)} ~ ${bind(`(^|[\\s^=,-])${patternOf(word)}`)}`)
  return like.length > 0 ? `(${like.join(' and ')})` : undefined
}

const patternOf = (word: string) =>
  word
    .replace(/[.+()[\]{}|\\$-]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')

const accented = 'àáâãäåāăąçćčďèéêëēěęìíîïīłñńňòóôõöøōőřśšşťùúûüūůűýÿźżž'
const unaccented = 'aaaaaaaaacccdeeeeeeeiiiiilnnnoooooooorssstuuuuuuuyyzzz'

const plainSql = (sql: string) => `translate(lower(${sql}), '${accented}', '${unaccented}')`
const plain = (text: string) =>
  Array.from(text.toLowerCase(), letter => unaccented[accented.indexOf(letter)] ?? letter).join('')

/** A name may be stored with further groups (=) behind the one asked for. */
function nameForms(value: string): string[] {
  const lower = value.toLowerCase()
  return [lower, lower.replace(/\^+$/, '')]
}

function likePattern(value: string): string {
  return value
    .replace(/[\\%_]/g, '\\$&')
    .replace(/\*+/g, '%')
    .replaceAll('?', '_')
}

function select(
  dataset: DicomJson,
  required: readonly string[],
  include: { all: boolean; tags: Set<string> },
): DicomJson {
  if (include.all) return dataset
  const selected = pick(dataset, [...required, ...include.tags])
  for (const tag of required) if (!selected[tag] && emptyVr[tag]) selected[tag] = { vr: emptyVr[tag] }
  return selected
}

function sorted(json: DicomJson): DicomJson {
  return Object.fromEntries(Object.entries(json).sort(([a], [b]) => (a < b ? -1 : 1)))
}
