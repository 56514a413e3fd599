import { closeSync, existsSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Holds a data folder for this process by a lock file with its pid and start time, so that a lock left by a killed
 * process, or by another process that later got the same pid, does not count.
 * @returns a function that gives the folder free
 * @throws Error naming the process that has the folder
 */
export function lockDataFolder(directory: string): () => void {
  const file = join(directory, 'radbridge.lock')
  const own = `${process.pid} ${startTimeOf(process.pid) ?? ''}\n`
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const descriptor = openSync(file, 'wx', 0o600)
      writeSync(descriptor, own)
      closeSync(descriptor)
      return () => {
        if (existsSync(file) && readFileSync(file, 'utf8') === own) rmSync(file)
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      const holder = readFileSync(file, 'utf8').trim().split(' ')
      const pid = Number(holder[0])
      if (pid !== process.pid && isAlive(pid) && (!holder[1] || startTimeOf(pid) === holder[1])) {
        throw new Error(
          `data folder ${directory} is in use by process ${pid}. Stop that process, or set RADBRIDGE_DATA_DIR to another folder.`,
        )
      }
      rmSync(file, { force: true })
    }
  }
  throw new Error(`data folder ${directory}: the lock file could not be taken, another process is starting on it`)
}

export function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
    return !isZombie(pid)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function isZombie(pid: number): boolean {
  return statFields(pid)?.[0] === 'Z'
}

/** Start time in clock ticks since boot (Linux), undefined elsewhere. */
function startTimeOf(pid: number): string | undefined {
  return statFields(pid)?.[19]
}

/** Fields of /proc/PID/stat from the state on; the command before it may hold spaces. */
function statFields(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined
  }
}
