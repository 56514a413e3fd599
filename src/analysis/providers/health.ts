import { request } from 'undici'
import { z } from 'zod'
import type { DimsePeer, RemoteProviderSettings } from '../../platform/providerSettings.js'
import { authorizationOf } from '../../platform/secret.js'
import { healthAnswer } from './imaging-rest/wire.js'

export type Health = { says: string } | { problem: string; fix: string }

const timeoutMilliseconds = 10_000

/**
 * Asks a provider how it is, by the health check of its kind.
 * @param overDimse asks one that is reached by C-STORE; it throws what is wrong
 */
export async function checkHealth(
  provider: RemoteProviderSettings,
  overDimse: (peer: DimsePeer) => Promise<void>,
): Promise<Health> {
  if (provider.kind === 'dicom' && provider.dimse) return checkEcho(provider.dimse, overDimse)
  try {
    const { path, judge, documented } = healthOf(provider)
    const base = provider.kind === 'dicom' ? provider.stow!.url.replace(/\/$/, '') : provider.baseUrl
    const { statusCode, body } = await request(`${base}${path}`, {
      headers: {
        Accept: provider.kind === 'dicom' ? 'application/dicom+json' : 'application/json',
        ...authorizationOf(provider.kind === 'dicom' ? provider.stow! : { token: provider.apiKey }),
      },
      headersTimeout: timeoutMilliseconds,
      bodyTimeout: timeoutMilliseconds,
      signal: AbortSignal.timeout(2 * timeoutMilliseconds),
    })
    const text = await body.text()
    if (statusCode === 401 || statusCode === 403)
      return { problem: `refuses our key (${statusCode})`, fix: 'Check the key or token of this provider.' }
    return (
      judge(statusCode, parsed(text)) ?? {
        problem: `answers ${statusCode} to ${base}${path}, and not what was agreed`,
        fix: `Check baseUrl: docs/providers/${documented} says what lies below it.`,
      }
    )
  } catch (error) {
    const problem = `cannot be reached (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`
    return { problem, fix: 'Check host and port, and the firewall between here and there.' }
  }
}

/** Asks an application entity by C-ECHO. */
export async function checkEcho(peer: DimsePeer, echo: (peer: DimsePeer) => Promise<void>): Promise<Health> {
  try {
    await echo(peer)
    return { says: 'answers C-ECHO' }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return {
      problem: code ? `cannot be reached (${code})` : message,
      fix: 'Check host, port and both AE titles here, and that it knows ours.',
    }
  }
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

interface HealthCheck {
  path: string
  documented: string
  /** @returns undefined for an answer that is not what was agreed */
  judge(status: number, json: unknown): Health | undefined
}

const modelList = z.object({ data: z.array(z.object({ id: z.string() })) })

function healthOf(provider: RemoteProviderSettings): HealthCheck {
  const lacks = (model: string, models: readonly string[]) => ({
    problem: `has no model ${model}`,
    fix: `It has: ${models.join(', ')}.`,
  })
  switch (provider.kind) {
    case 'imaging-rest':
      return {
        path: '/health',
        documented: 'imaging-rest.md',
        judge(status, json) {
          const health = healthAnswer.safeParse(json)
          if (status !== 200 || !health.success) return undefined
          const { models } = health.data
          if (provider.model && models && !models.includes(provider.model)) return lacks(provider.model, models)
          return { says: `says ${health.data.status}` }
        },
      }
    case 'openai':
      return {
        path: '/models',
        documented: 'openai.md',
        judge(status, json) {
          const list = modelList.safeParse(json)
          if (status !== 200 || !list.success) return undefined
          const models = list.data.data.map(model => model.id)
          return models.includes(provider.model)
            ? { says: `has model ${provider.model}` }
            : lacks(provider.model, models)
        },
      }
    case 'dicom':
      return {
        path: '/studies?limit=1',
        documented: 'dicom.md',
        judge: status => (status === 200 || status === 204 ? { says: 'answers QIDO-RS' } : undefined),
      }
    case 'kserve':
      return {
        path: `/v2/models/${encodeURIComponent(provider.model)}/ready`,
        documented: 'kserve.md',
        judge(status) {
          if (status === 200) return { says: `is ready with model ${provider.model}` }
          if (status === 400 || status === 404 || status === 503)
            return {
              problem: `says that model ${provider.model} is not ready (${status})`,
              fix: 'Check its name, and the log of the inference server.',
            }
          return undefined
        },
      }
  }
}
