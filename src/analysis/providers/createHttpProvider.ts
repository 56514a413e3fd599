import { readFileSync } from 'node:fs'
import type { HttpProviderSettings } from '../../platform/providerSettings.js'
import { resolveSecret } from '../../platform/secret.js'
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
    tls: tlsOf(settings),
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

function tlsOf({ tls }: HttpProviderSettings): { ca?: string; cert?: string; key?: string } | undefined {
  if (!tls) return undefined
  return {
    ...(tls.ca ? { ca: readFileSync(tls.ca, 'utf8') } : {}),
    ...(tls.cert ? { cert: readFileSync(tls.cert, 'utf8') } : {}),
    ...(tls.key ? { key: resolveSecret(tls.key) } : {}),
  }
}
