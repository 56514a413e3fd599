import { parseArgs } from 'node:util'
import { startService } from '../main.js'
import { isParserAssertion } from '../platform/httpAgent.js'
import { createLog, errorContext } from '../platform/log.js'
import { loadSettings } from '../platform/settings.js'

/** Runs the service until SIGINT or SIGTERM. */
export async function serve(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: { config: { type: 'string' } } })
  const settings = loadSettings(process.env, values.config)
  const log = createLog(settings.log)
  process.on('uncaughtException', error => {
    if (isParserAssertion(error)) {
      log.warn('a server closed its connection while its answer was being read', errorContext(error))
      return
    }
    log.error('unexpected error, stopping', { ...errorContext(error), stack: error.stack })
    process.exit(70)
  })
  const service = await startService(settings, log)
  if (service.generatedAdminToken) {
    // Not through the log: logs are kept and collected, this is shown once.
    process.stderr.write(`Administrator token, shown this once: ${service.generatedAdminToken}\n`)
  }
  if (process.stdout.isTTY) {
    console.log(
      `\n  Console   ${service.url}/\n  DICOMweb  ${service.url}/dicom-web\n  API       ${service.url}/api/openapi.json\n  Health    ${service.url}/readyz\n`,
    )
  }
  await new Promise<void>(resolve => {
    process.once('SIGINT', () => resolve())
    process.once('SIGTERM', () => resolve())
  })
  process.on('SIGINT', () => process.exit(130)) // a second Ctrl-C does not wait
  await service.stop()
  return 0
}
