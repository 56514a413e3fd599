import type { Comparison, Findings } from './findings.js'
import type { NormalizedStudy } from './normalizedStudy.js'

/** Something that analyses studies: the embedded analyser, or a client of a remote one. */
export interface Provider {
  readonly name: string
  /** Asked before a study is prepared. @throws ProviderProblem if it is known to be away */
  ready?(): Promise<void>
  /**
   * @param signal aborted when nobody waits for the answer any more
   * @param onProgress told after each answer, by providers that are asked image by image
   * @returns findings, whose status says whether anything was looked for, and whether all of it could be looked at
   * @throws ProviderProblem
   */
  analyze(study: NormalizedStudy, signal: AbortSignal, onProgress?: (progress: Progress) => void): Promise<Analysis>
  /** What has become of the lesions since the earlier examination, in words, of providers that write such reports. @throws ProviderProblem */
  summarize?(
    comparison: Comparison,
    about: { studyInstanceUid: string; studyDate?: string },
    signal: AbortSignal,
  ): Promise<string>
  close(): Promise<void>
}

/** Images that have an answer, of how many, and what was found on them. */
export interface Progress {
  done: number
  of: number
  findings: number
}

/** What came of an analysis, and what it took. */
export interface Analysis {
  findings: Findings
  /** Requests to a remote provider, and the units that it counted. */
  usage?: { requests: number; units: number }
  /** Results that were refused, the first of them, to be looked at. */
  rejected?: RejectedResult[]
}

/** A result of one image that cannot be right. */
export interface RejectedResult {
  sopInstanceUid: string
  frame: number
  reason: string
  /** As it was answered. */
  content: unknown
}

/** An analysis that failed. `retryable` tells whether the same call may succeed later. */
export class ProviderProblem extends Error {
  readonly code = 'PROVIDER'
  /** The provider is away: worth another try in so many seconds. */
  awayForSeconds?: number
  constructor(
    message: string,
    readonly retryable: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }

  static away(message: string, seconds: number): ProviderProblem {
    const problem = new ProviderProblem(message, true)
    problem.awayForSeconds = seconds
    return problem
  }
}
