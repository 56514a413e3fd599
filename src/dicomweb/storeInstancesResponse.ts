import type { DicomJson } from '../dicom/dicomJson.js'
import type { InstanceOutcome } from '../ingest/index.js'
import type { Problem } from './problem.js'

/**
 * The Store Instances Response Module (PS3.18 annex I) and the status code that goes with it (table 10.5.3-1).
 * @param cutAtLimit the request was longer than allowed and its rest was not read
 */
export function storeInstancesResponse(
  instances: readonly InstanceOutcome[],
  base: string,
  cutAtLimit: boolean,
): { status: number; dataset: DicomJson } | Problem {
  const stored: DicomJson[] = []
  const failed: DicomJson[] = []
  const unidentified: DicomJson[] = []
  const studies = new Set<string>()
  const seen = new Set<string>()
  let warnings = false
  let unavailable = false
  for (const instance of instances) {
    if (instance.outcome === 'unavailable') {
      unavailable = true
      continue
    }
    if (instance.outcome === 'refused') {
      const FailureReason = { vr: 'US', Value: [instance.reason] }
      const comment = { vr: 'LO', Value: [instance.detail.slice(0, 64)] }
      if (!instance.sopInstanceUid) unidentified.push({ '00000902': comment, '00081197': FailureReason })
      else {
        failed.push({
          '00000902': comment,
          '00081150': ui(instance.sopClassUid),
          '00081155': ui(instance.sopInstanceUid),
          '00081197': FailureReason,
        })
      }
      continue
    }
    if (seen.has(instance.sopInstanceUid)) continue // twice in one request: one entry
    seen.add(instance.sopInstanceUid)
    const study = `${base}/studies/${instance.studyInstanceUid}`
    studies.add(study)
    warnings ||= instance.warning !== undefined
    stored.push({
      '00081150': ui(instance.sopClassUid),
      '00081155': ui(instance.sopInstanceUid),
      '00081190': {
        vr: 'UR',
        Value: [`${study}/series/${instance.seriesInstanceUid}/instances/${instance.sopInstanceUid}`],
      },
      ...(instance.warning ? { '00081196': { vr: 'US', Value: [instance.warning] } } : {}),
    })
  }
  if (stored.length === 0 && cutAtLimit) {
    return {
      status: 413,
      title: 'Content Too Large',
      detail: 'the request is longer than the limit; send fewer instances in one request',
    }
  }
  if (unavailable && stored.length === 0) {
    const detail = 'the database cannot be reached; send the instances again later'
    return { status: 503, title: 'Service Unavailable', detail, headers: { 'Retry-After': '10' } }
  }
  const dataset: DicomJson = {
    ...(failed.length > 0 ? { '00081198': { vr: 'SQ', Value: failed } } : {}),
    ...(stored.length > 0 ? { '00081199': { vr: 'SQ', Value: stored } } : {}),
    // Several studies have no common address.
    '00081190': { vr: 'UR', ...(studies.size === 1 ? { Value: [...studies] } : {}) },
    ...(unidentified.length > 0 ? { '0008119A': { vr: 'SQ', Value: unidentified } } : {}),
  }
  const allStored = failed.length === 0 && unidentified.length === 0 && !unavailable && !cutAtLimit
  const status = stored.length === 0 ? 409 : allStored && !warnings ? 200 : 202
  return { status, dataset }
}

function ui(uid: string | undefined) {
  return { vr: 'UI', ...(uid ? { Value: [uid] } : {}) }
}
