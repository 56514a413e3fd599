import type { HttpProviderSettings } from '../../platform/providerSettings.js'
import { readTls, resolveSecret } from '../../platform/secret.js'
import type { RemoteParts } from '../calling/remote.js'
import type { Provider } from '../provider.js'
import { defaultLabels, imagingRestProvider } from './imaging-rest/index.js'
import { kserveProvider } from './kserve/index.js'
import { openAiProvider } from './openai/index.js'

/** The client of a configured provider; its secrets are read now. @throws Error naming a secret or a file that cannot be read */
export function createHttpProvider(
  settings: HttpProviderSettings,
  parts: RemoteParts & { pseudonymKey: string },
): Provider {
  const common = {
    apiKey: settings.apiKey ? resolveSecret(settings.apiKey) : undefined,
    tls: settings.tls ? readTls(settings.tls) : undefined,
    labels: settings.labels ?? defaultLabels,
  }
  switch (settings.kind) {
    case 'imaging-rest':
      return imagingRestProvider({ ...settings, ...common, pseudonymKey: parts.pseudonymKey }, parts)
    case 'openai':
      return openAiProvider({ ...settings, ...common }, parts)
    case 'kserve':
      return kserveProvider({ ...settings, ...common }, parts)
  }
}
