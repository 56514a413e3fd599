/** States of a revision of a study, in their order (docs/architecture.md). */
export type StudyState =
  | 'receiving'
  | 'settled'
  | 'analyzing'
  | 'reporting'
  | 'delivering'
  | 'completed'
  | 'failed'
  | 'ignored'
  | 'superseded'
