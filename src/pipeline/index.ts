import type { Tasks } from '../platform/jobs.js'
import { analyze } from './analyze.js'
import { tellAvailability, tellCommitment } from './associationServices.js'
import type { PipelineContext } from './context.js'
import { deliver } from './deliver.js'
import { endWhatWasGivenUp } from './givenUp.js'
import { purge } from './purge.js'
import { report } from './report.js'
import { scrub } from './scrub.js'
import { settle } from './settle.js'
import { shadow } from './shadow.js'
import { watchProviders } from './watchProviders.js'

export { associationServices } from './associationServices.js'
export { spent } from './budget.js'
export { type CanaryAction, listCanaries, steerCanary } from './canary.js'
export { chooseRoute, readTraits, type StudyTraits, traitsOf } from './chooseRoute.js'
export type { PipelineContext } from './context.js'
export { type DatasetStudy, datasetStudy, labelledStudies } from './dataset.js'
export { dicomTransport } from './dicomTransport.js'
export { analyzeAgain, cancelStudy, deleteStudy, deliverAgain, type OperationOutcome } from './operate.js'
export { rearmSettling } from './rearmSettling.js'
export { expectedSource } from './remoteArchive.js'
export { type RetryOutcome, retryDelivery, retryStudy } from './retry.js'
export { type ShadowReport, shadowDisagreements, shadowReports } from './shadowReport.js'

/** The steps of the pipeline as jobs. */
export function pipelineTasks(context: PipelineContext): Omit<Tasks, 'notify' | 'observe'> {
  return {
    settle: payload => settle(payload, context),
    analyze: (payload, job) => analyze(payload, job, context),
    report: (payload, job) => report(payload, job, context),
    deliver: (payload, job) => deliver(payload, job, context),
    shadow: (payload, job) => shadow(payload, job, context),
    reportCommitment: payload => tellCommitment(payload, context),
    notifyAvailability: payload => tellAvailability(payload, context),
    purge: () => purge(context),
    scrub: () => scrub(context),
    watchJobs: () => endWhatWasGivenUp(context),
    watchProviders: () => watchProviders(context),
  }
}
