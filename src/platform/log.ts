import winston from 'winston'

/** Structured log. Context never holds patient names, patient IDs or request URLs with them. */
export interface Log {
  debug(message: string, context?: object): void
  info(message: string, context?: object): void
  warn(message: string, context?: object): void
  error(message: string, context?: object): void
  /** A log that adds `context` (for example `{ study }`) to each line. */
  child(context: object): Log
}

/** Winston on standard output: JSON lines, or text on a terminal. */
export function createLog(options: { level: string; format: 'auto' | 'json' | 'text' }): Log {
  const asText = options.format === 'text' || (options.format === 'auto' && process.stdout.isTTY)
  const line = winston.format.printf(({ timestamp, level, message, ...context }) => {
    const rest = Object.entries(context).map(
      ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
    )
    return [String(timestamp).slice(11, 19), level.padEnd(5), message, ...rest].join(' ')
  })
  return winston.createLogger({
    level: options.level,
    format: winston.format.combine(winston.format.timestamp(), asText ? line : winston.format.json()),
    transports: [new winston.transports.Console({ stderrLevels: [] })],
  })
}

/** Log that keeps silent, for parts used outside the service. */
export const silentLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLog,
}

/** What may be logged of an error: its message and code, and the chain of causes. Never a whole object. */
export function errorContext(error: unknown): { error: string; code?: string } {
  if (!(error instanceof Error)) return { error: String(error) }
  const code = (error as NodeJS.ErrnoException).code
  const cause = error.cause instanceof Error ? ` (${error.cause.message})` : ''
  return { error: error.message + cause, ...(code ? { code: String(code) } : {}) }
}
