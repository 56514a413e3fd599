import { setTimeout as sleep } from 'node:timers/promises'
import { brokenRows } from '../archive/index.js'
import { raise } from '../notifications/raise.js'
import type { PipelineContext } from './context.js'

const cursor = 'scrubbed until'
/** Of one night: the rest follows in the next ones. */
const minutes = 60
/** So long it rests after each thousand instances, for those who read and write. */
const restMilliseconds = 200

/**
 * Reads stored files slowly, some each night, and compares them with the checksums of when they were stored: what a disk has forgotten is found before somebody needs
 * it, while there is still another copy.
 */
export async function scrub({ database, blobs, endpoints, log }: PipelineContext): Promise<void> {
  const { rows } = await database.query<{ value: string }>('select value from setting where name = $1', [cursor])
  const until = performance.now() + minutes * 60_000
  let checked = 0
  let last = rows[0]?.value ?? ''
  const broken = []
  const onChecked = async (count: number, reached: string) => {
    checked += count
    last = reached
    await sleep(restMilliseconds)
    return performance.now() < until
  }
  for await (const row of brokenRows(database, blobs, { checksums: true, after: last, onChecked })) {
    broken.push(row)
    const { studyInstanceUid: study, sopInstanceUid: object, problem } = row
    log.error('a stored instance is broken', { study, object, problem })
  }
  await database.query(
    'insert into setting (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value',
    [cursor, last],
  )
  log.info('stored files were compared with their checksums', { instances: checked, broken: broken.length })
  if (broken.length === 0) return
  await raise(
    database,
    {
      event: 'store-damaged',
      key: `store:${new Date().toISOString().slice(0, 10)}`,
      summary: `${broken.length} of ${checked} stored instances are not as they were stored: bring them back from a backup, or have their studies sent again`,
      detail: { studies: [...new Set(broken.map(row => row.studyInstanceUid))].slice(0, 100) },
    },
    endpoints.notifications,
  )
}
