import { fileURLToPath } from 'node:url'

/**
 * Path of a compiled module for a worker thread. Under test the caller runs from src/ while threads need JavaScript: they get the built one.
 * @param from `import.meta.url` of the caller
 * @param relative for example `./decodeWorker.js`
 */
export function compiledModule(from: string, relative: string): string {
  return fileURLToPath(new URL(relative, from)).replace(/([\\/])src([\\/](?!.*[\\/]src[\\/]))/, '$1dist$2')
}
