import { copyFile, mkdir, open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Destination, DimseDestination } from '../platform/endpoints.js'
import type { DeliveryOutcome, ObjectToDeliver } from './outcome.js'
import { StowClient } from './stowClient.js'

export { DicomwebReader } from './dicomwebReader.js'
export { type DeliveryOutcome, delayBeforeRetry, maxAttempts, type ObjectToDeliver } from './outcome.js'
export { StowClient } from './stowClient.js'

export interface Deliverer {
  deliver(object: ObjectToDeliver): Promise<DeliveryOutcome>
  close(): Promise<void>
}

/** @param overDimse makes the one for a destination that is reached by C-STORE */
export function createDeliverer(
  destination: Destination,
  overDimse: (destination: DimseDestination) => Deliverer,
): Deliverer {
  if ('stow' in destination) return new StowClient(destination.stow)
  return 'dimse' in destination ? overDimse(destination) : folderDeliverer(destination.folder)
}

/** Puts objects into a folder, `STUDY/INSTANCE.dcm`; a reader never sees half a file. */
function folderDeliverer(folder: string): Deliverer {
  return {
    async deliver(object) {
      try {
        const directory = join(folder, object.studyInstanceUid)
        await mkdir(directory, { recursive: true })
        const target = join(directory, `${object.sopInstanceUid}.dcm`)
        await copyFile(object.path, `${target}.part`)
        const handle = await open(`${target}.part`, 'r+')
        await handle.datasync()
        await handle.close()
        await rename(`${target}.part`, target)
        return { outcome: 'delivered', detail: 'written' }
      } catch (error) {
        return {
          outcome: 'failed',
          detail: `the folder could not be written (${(error as NodeJS.ErrnoException).code})`,
        }
      }
    },
    close: async () => {},
  }
}
