/** Failure and Warning Reasons of a Store Instances response: PS3.18 tables I.2-1 and I.2-2, PS3.7 annex C. */
export const reason = {
  processingFailure: 0x0110,
  duplicateSopInstance: 0x0111,
  sopClassNotSupported: 0x0122,
  notAuthorized: 0x0124,
  outOfResources: 0xa700,
  dataSetDoesNotMatchSopClass: 0xa900,
  studyUidMismatch: 0xa901,
  cannotUnderstand: 0xc000,
  transferSyntaxNotSupported: 0xc122,
  coercion: 0xb000,
  elementsDiscarded: 0xb006,
  dataSetMismatchWarning: 0xb007,
} as const
