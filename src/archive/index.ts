export { type Answer, answersSince, countAnswers, keepAnswer } from './answers.js'
export type { BlobKey, BlobStore, IncomingBlob } from './blobStore.js'
export { type Adopted, adoptFiles, type BrokenRow, brokenRows, unknownFiles } from './checkStore.js'
export { DirectoryStore } from './directoryStore.js'
export { type IndexOutcome, type InstanceToIndex, indexInstances, replaceInstance } from './indexInstances.js'
export * from './instances.js'
export { withHeaders } from './packedHeader.js'
export { type S3Options, S3Store } from './s3Store.js'
export { type QidoQuery, QueryProblem, searchInstances, searchPatients, searchSeries, searchStudies } from './search.js'
export * from './studies.js'
export { sweepOrphans, TooManyOrphans } from './sweepOrphans.js'
export { DamagedBlob, readWhole, requireAllWhole, type StoredBytes } from './verified.js'
export { maxWhole, type WholeFile, WholeReader } from './wholeReader.js'
export {
  dateTime,
  findWorkitem,
  insertWorkitem,
  isWatched,
  noteProgress,
  searchWorkitems,
  subscribe,
  subscribeFiltered,
  suspend,
  tell,
  unsubscribe,
  updateWorkitem,
  type Workitem,
  type WorkitemMatch,
  type WorkitemState,
  watched,
  workitemChannel,
  workitemEvent,
  workitemSopClass,
} from './workitems.js'
