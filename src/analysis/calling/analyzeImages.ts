import type { CodedConcept } from '../../dicom/concepts.js'
import { mayNamePatient } from '../../privacy/burnedIn.js'
import type { NormalizedImage, NormalizedSeries, NormalizedStudy } from '../normalizedStudy.js'
import { type Analysis, type Progress, ProviderProblem, type RejectedResult } from '../provider.js'
import { askForAll, type Rejected, RequestFailed } from './askForAll.js'
import { findingsOfImages } from './findingsOfImages.js'
import type { ImageResult, Model } from './found.js'

/** What providers that are asked image by image have in common. */
export interface ImageAnalysisSettings {
  name: string
  model?: string | undefined
  /** How often an image is asked for again. */
  maxRetries: number
  concurrency: number
  /** Images of one request. */
  chunk: number
  /** What the provider's words stand for. */
  labels: Readonly<Record<string, CodedConcept>>
  /** `none` sends images whose pixels may name the patient, too. */
  deidentify: 'basic' | 'basic+retain-longitudinal' | 'none'
}

export interface SentImage {
  image: NormalizedImage
  series: NormalizedSeries
}

/** What one request brought. */
export interface ImageAnswers {
  model: Model
  units: number
  /** Further requests that it took. */
  moreRequests?: number
  results: ReadonlyMap<number, ImageResult | Rejected>
}

/** So many results that were refused are kept of a study. */
const maxRejectedKept = 20

/** Who waits for an analysis. */
export interface Waiting {
  signal: AbortSignal
  onProgress?: ((progress: Progress) => void) | undefined
}

/**
 * Has images of a study analysed, until there is an answer for each of them or the study is incomplete.
 * @param select which of the images that may be sent; what is left out by it is named in the report, and nothing is reported as absent
 * @param ask one request for the images of these indices
 * @throws ProviderProblem
 */
export async function analyzeImages(
  study: NormalizedStudy,
  settings: ImageAnalysisSettings,
  { signal, onProgress }: Waiting,
  ask: (indices: readonly number[], sent: readonly SentImage[]) => Promise<ImageAnswers>,
  select: (images: readonly SentImage[]) => readonly SentImage[] = images => images,
): Promise<Analysis> {
  const all = study.series.flatMap(series => series.images.map(image => ({ image, series })))
  const reasons = settings.deidentify === 'none' ? [] : all.map(({ image }) => mayNamePatient(image.header))
  const sendable = all.filter((_, i) => !reasons[i])
  if (sendable.length === 0) {
    const why = reasons.find(reason => reason)
    return {
      findings: {
        algorithm: { name: settings.model ?? settings.name, version: 'unknown', manufacturer: 'unknown' },
        status: 'not-applicable',
        reason: why
          ? `not sent, since the pixels may name the patient: ${why}`
          : 'the study holds no image that can be decoded',
        lookedFor: [],
        items: [],
      },
    }
  }
  const sent = select(sendable)
  const models = new Map<string, Model>()
  let away = false
  let units = 0
  let more = 0
  let [done, found] = [0, 0]
  const rejected: RejectedResult[] = []
  const { results, missing, requests } = await askForAll<ImageResult>(
    sent.length,
    async indices => {
      const answer = await ask(indices, sent).catch(error => {
        away ||= error instanceof RequestFailed && (error.kind === 'away' || error.kind === 'limited')
        throw error
      })
      units += answer.units
      more += answer.moreRequests ?? 0
      for (const [index, result] of answer.results) {
        if ('rejected' in result) {
          const { sopInstanceUid, frame } = sent[index]!.image
          if (rejected.length < maxRejectedKept && result.content !== undefined)
            rejected.push({ sopInstanceUid, frame, reason: result.rejected, content: result.content })
          continue
        }
        done++
        found += result.findings.length
      }
      models.set(`${answer.model.name} ${answer.model.version}`, answer.model)
      return answer.results
    },
    {
      chunk: settings.chunk,
      concurrency: settings.concurrency,
      maxAsks: settings.maxRetries + 1,
      signal,
      onAnswer: () => onProgress?.({ done, of: sent.length, findings: found }),
    },
  )
  const [model, another] = [...models.values()]
  if (!model) throw new ProviderProblem(`no request succeeded; the last reason: ${[...missing.values()][0]}`, away)
  // Half of a study by one version and half by another is no result of either.
  if (another) throw new ProviderProblem('the provider changed its model while the study was analysed', true)
  const findings = findingsOfImages({
    results,
    missing,
    withheld: all.length - sendable.length,
    notSelected: sendable.length - sent.length,
    sent,
    study,
    model,
    settings,
  })
  return { findings, usage: { requests: requests + more, units }, ...(rejected.length > 0 ? { rejected } : {}) }
}
