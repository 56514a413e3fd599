import { stat } from 'node:fs/promises'
import { errorContext, type Log } from '../platform/log.js'
import { readTls, type Tls } from '../platform/secret.js'

const lookMilliseconds = 10_000

interface TlsFiles {
  cert: string
  key: string
  ca?: string | undefined
}

/** Reads certificate and key again when their files have changed, so that one that is renewed is used without a restart. @returns how to stop looking */
export function followTls(files: TlsFiles, use: (tls: Tls) => void, log: Log, every = lookMilliseconds): () => void {
  const paths = [files.cert, files.ca, /^file:(.+)$/.exec(files.key)?.[1]].filter(path => path !== undefined)
  const look = async () => {
    const times = await Promise.all(paths.map(path => stat(path).then(({ mtimeMs }) => mtimeMs)))
    return times.join()
  }
  let known = look().catch(() => '')
  const timer = setInterval(async () => {
    const before = await known
    const now = await look().catch(() => before)
    if (now === before) return
    known = Promise.resolve(now)
    try {
      use(readTls(files))
      log.info('TLS: the certificate was read again', { cert: files.cert })
    } catch (error) {
      log.error('TLS: the new certificate cannot be used, the one before goes on', errorContext(error))
    }
  }, every).unref()
  return () => clearInterval(timer)
}
