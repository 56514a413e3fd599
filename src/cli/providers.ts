import { parseArgs } from 'node:util'
import { AdminApi, ApiRefusal, serviceOptions } from './adminApi.js'

/** Prints the report of the providers as Markdown, or as JSON. */
export async function providers(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      days: { type: 'string' },
      month: { type: 'string' },
      'changed-at': { type: 'string' },
      json: { type: 'boolean', default: false },
      ...serviceOptions,
    },
  })
  const query = new URLSearchParams({
    ...(values.days ? { days: values.days } : {}),
    ...(values.month ? { month: values.month } : {}),
    ...(values['changed-at'] ? { changedAt: values['changed-at'] } : {}),
    ...(values.json ? {} : { format: 'markdown' }),
  })
  try {
    const { body } = await new AdminApi(values).call('GET', `/providers/report?${query}`)
    console.log((await body.text()).trimEnd())
    return 0
  } catch (error) {
    if (!(error instanceof ApiRefusal)) throw error
    console.error(`radbridge: ${error.message}`)
    return 1
  }
}
