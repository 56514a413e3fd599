import type { NormalizedStudy } from '../analysis/normalizedStudy.js'
import { misplaced } from '../analysis/placement.js'
import { type Analysis, type Progress, ProviderProblem } from '../analysis/provider.js'
import { metrics } from '../platform/metrics.js'
import type { ProviderSettings } from '../platform/providerSettings.js'
import type { PipelineContext } from './context.js'

/** Seconds that the whole analysis of a study may take. */
export function deadlineOf(settings: ProviderSettings | undefined): number {
  if (!settings) return 600
  return settings.kind === 'reference' ? settings.timeoutSeconds : settings.deadlineSeconds
}

/** @throws ProviderProblem also for an answer that is not about the study */
export async function callProvider(...call: Parameters<typeof judgedAnswer>): Promise<Analysis> {
  const [provider] = call
  const end = metrics.analyses.startTimer({ provider })
  try {
    const analysis = await judgedAnswer(...call)
    end({ outcome: analysis.findings.status })
    return analysis
  } catch (error) {
    end({ outcome: 'failed' })
    throw error
  }
}

async function judgedAnswer(
  name: string,
  study: NormalizedStudy,
  timeoutSeconds: number,
  context: PipelineContext,
  onProgress?: (progress: Progress) => void,
  unwanted?: AbortSignal,
): Promise<Analysis> {
  const provider = context.providers.get(name)
  if (!provider) throw new ProviderProblem(`no provider is named ${name}`, false)
  const deadline = AbortSignal.timeout(timeoutSeconds * 1000)
  const analysis = await provider
    .analyze(study, unwanted ? AbortSignal.any([deadline, unwanted]) : deadline, onProgress)
    .catch(error => {
      if (deadline.aborted) throw new ProviderProblem(`there was no complete answer within ${timeoutSeconds} s`, false)
      throw error
    })
  const headers = new Map(
    study.series.flatMap(({ images }) => images.map(image => [image.sopInstanceUid, image.header] as const)),
  )
  const problem = misplaced(analysis.findings, uid => headers.get(uid))
  if (problem) throw new ProviderProblem(`the answer is not about this study: ${problem}`, false)
  return analysis
}
