import { type BlobStore, DirectoryStore, S3Store } from '../archive/index.js'
import { resolveSecret } from '../platform/secret.js'
import { type Settings, SettingsError } from '../platform/settings.js'
import type { Undo } from './undo.js'

/** The folder or the bucket of the settings. @throws SettingsError if it cannot be used */
export async function openBlobStore(
  { storageDirectory, bucket, storage: { s3 } }: Settings,
  undo: Undo,
): Promise<BlobStore> {
  if (!bucket) return DirectoryStore.open(storageDirectory)
  const { accessKeyId, secretAccessKey, ...options } = s3
  if ((accessKeyId === undefined) !== (secretAccessKey === undefined))
    throw new SettingsError('storage.s3.accessKeyId and secretAccessKey go together: set both or neither')
  const credentials =
    accessKeyId && secretAccessKey
      ? { accessKeyId: resolveSecret(accessKeyId), secretAccessKey: resolveSecret(secretAccessKey) }
      : undefined
  try {
    const store = await S3Store.open({ ...options, bucket, directory: storageDirectory, credentials })
    undo.push(() => store.close())
    return store
  } catch (error) {
    throw new SettingsError(
      `the bucket ${bucket.name} cannot be used (${(error as Error).name}: ${(error as Error).message}). Check storage.url and storage.s3.`,
    )
  }
}
