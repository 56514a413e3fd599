import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { DamagedBlob, findInstance, readWhole, withHeaders } from '../../archive/index.js'
import { textOf } from '../../dicom/dicomJson.js'
import { errorContext } from '../../platform/log.js'
import { reportTree } from '../../results/reportTree.js'
import { openStream } from '../eventStream.js'
import { type Operation, operation } from '../operation.js'
import { ApiProblem } from '../problem.js'
import { findFindings } from '../queries.js'
import { type AdminContext, count, studyParams } from './common.js'

const tag = 'viewing'
const permission = 'images:read'
const notFound = { 404: 'no study of this UID was received' }
const imagesSchema = z.array(
  z.object({
    seriesInstanceUid: z.string(),
    modality: z.string().nullable(),
    description: z.string().nullable(),
    isResult: z.boolean(),
    instances: z.array(
      z.object({
        sopInstanceUid: z.string(),
        frames: count,
        rows: count,
        columns: count,
        number: z.string().nullable(),
      }),
    ),
  }),
)
const eventPollMilliseconds = 500
const pingMilliseconds = 15_000

/** What the console shows of a study, and what happens as it happens. */
export function viewingOperations({ database, blobs, audit, log }: AdminContext): Operation[] {
  return [
    operation({
      method: 'get',
      path: '/studies/{uid}/images',
      permission,
      tag,
      summary: 'Series and images of a study that can be rendered, in the order of their numbers',
      params: studyParams,
      answer: imagesSchema,
      async handle({ params: { uid } }) {
        const { rows } = await database.query(
          `select e.series_instance_uid "seriesInstanceUid", e.modality, e.series_description description, bool_and(i.origin = 'result') "isResult",
                  jsonb_agg(jsonb_build_object('sopInstanceUid', i.sop_instance_uid, 'number', i.instance_number,
                                               'frames', coalesce((i.attributes #>> '{00280008,Value,0}')::int, 1),
                                               'rows', (i.attributes #>> '{00280010,Value,0}')::int, 'columns', (i.attributes #>> '{00280011,Value,0}')::int)
                            order by case when i.instance_number ~ '^ *[0-9]{1,9} *$' then i.instance_number::int end, i.sop_instance_uid) instances
             from series e join instance i using (series_instance_uid)
            where e.study_instance_uid = $1 and i.attributes ? '00280010' and i.sop_class_uid not like '1.2.840.10008.5.1.4.1.1.66%'
            group by e.series_instance_uid, e.modality, e.series_description, e.series_number
            order by bool_and(i.origin = 'result'), case when e.series_number ~ '^ *[0-9]{1,9} *$' then e.series_number::int end, 1`,
          [uid],
        )
        return rows
      },
    }),
    operation({
      method: 'get',
      path: '/studies/{uid}/findings',
      permission,
      tag,
      summary:
        'What was found in the newest analysis: a Findings document with outlines in pixels of the images, without masks and maps',
      params: studyParams,
      answer: z.looseObject({}),
      problems: notFound,
      async handle({ params, done }) {
        const findings = await findFindings(database, params.uid)
        if (!findings) throw new ApiProblem(404, 'nothing of this study was analysed')
        audit.tally(done({ event: 'instances-accessed', study: params.uid }))
        return findings
      },
    }),
    operation({
      method: 'get',
      path: '/studies/{uid}/reports',
      permission,
      tag,
      summary: 'Structured Reports of a study as trees, the newest first',
      params: studyParams,
      answer: z.array(
        z.object({
          sopInstanceUid: z.string(),
          revision: count,
          flags: z.array(z.string()).describe('completion, preliminary, verification'),
          tree: z.array(z.string()).describe('lines, indented by two spaces a level'),
        }),
      ),
      async handle({ params: { uid }, done }) {
        const { rows } = await database.query<{ sopInstanceUid: string; revision: number; header: Buffer }>(
          `select sop_instance_uid "sopInstanceUid", revision, header from instance
            where study_instance_uid = $1 and attributes #>> '{0040A040,Value,0}' = 'CONTAINER' order by revision desc, sop_instance_uid limit 20`,
          [uid],
        )
        audit.tally(done({ event: 'instances-accessed', study: uid }))
        return (await withHeaders(rows)).map(({ header, ...row }) => ({
          ...row,
          flags: ['0040A491', '0040A496', '0040A493'].map(flag => textOf(header, flag)).filter(Boolean),
          tree: reportTree(header),
        }))
      },
    }),
    operation({
      method: 'get',
      path: '/studies/{uid}/files/{instance}',
      permission,
      tag,
      summary: 'An object as it is stored',
      params: studyParams.extend({ instance: studyParams.shape.uid.describe('SOP Instance UID') }),
      answer: { mediaType: 'application/dicom' },
      problems: { 404: 'no such object' },
      async handle({ params, res, done }) {
        const found = await findInstance(database, params.instance)
        if (found?.studyInstanceUid !== params.uid) throw new ApiProblem(404, 'there is no object of this UID')
        audit.tally(done({ event: 'instances-accessed', study: params.uid, instances: 1 }))
        res.set({
          'Content-Type': 'application/dicom',
          'Content-Disposition': `attachment; filename="${params.instance}.dcm"`,
          'Content-Length': String(found.byteLength),
        })
        await pipeline(readWhole(blobs, found), res).catch(error => {
          if (error instanceof DamagedBlob) log.error('a stored file is damaged', errorContext(error))
          res.destroy()
        })
        return undefined
      },
    }),
    operation({
      method: 'get',
      path: '/events',
      permission: 'studies:read',
      tag: 'studies',
      summary: 'What happens to any study, as server-sent events from now on, or after Last-Event-ID',
      answer: { mediaType: 'text/event-stream' },
      async handle({ req, res }) {
        const stream = openStream(res)
        const newest = await database.query<{ id: number }>('select coalesce(max(id), 0) id from study_event')
        const since = Number(req.headers['last-event-id'] ?? Number.NaN)
        let last = Number.isInteger(since) ? since : newest.rows[0]!.id
        let told = performance.now()
        stream.say(': from now on\n\n')
        while (stream.isOpen()) {
          const { rows } = await database.query<{ id: number } & Record<string, unknown>>(
            `select id, study_instance_uid "studyInstanceUid", revision, kind, detail, at from study_event where id > $1 order by id limit 500`,
            [last],
          )
          for (const { id, ...event } of rows) {
            stream.say(`id: ${id}\ndata: ${JSON.stringify(event)}\n\n`)
            last = id
          }
          if (rows.length > 0) told = performance.now()
          else if (performance.now() - told > pingMilliseconds) {
            stream.say(': still here\n\n')
            told = performance.now()
          }
          await sleep(eventPollMilliseconds)
        }
        return undefined
      },
    }),
  ]
}
