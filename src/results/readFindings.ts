import type { Finding, Findings } from '../analysis/findings.js'
import { concepts as c } from '../dicom/concepts.js'
import { type DicomJson, textOf } from '../dicom/dicomJson.js'
import { deriveUid } from '../dicom/uid.js'
import { readContentItem } from './contentItem.js'
import { readMeasurementReport } from './measurementReport.js'
import type { ReadSegmentation } from './readSegmentation.js'

/**
 * Reads an SR of an AI product, ours or another's, back into findings; masks come from the Segmentations it refers to.
 * @param report data set of an SR document with TID 1500 content
 * @param segmentations of the same analysis, those that are at hand
 * @returns undefined if the document is no Imaging Measurement Report
 */
export function readFindings(report: DicomJson, segmentations: readonly ReadSegmentation[] = []): Findings | undefined {
  const read = readMeasurementReport(readContentItem(report), {
    manufacturer: textOf(report, '00080070') ?? 'unknown',
    model: textOf(report, '00081090') ?? 'unknown',
    version: textOf(report, '00181020') ?? 'unknown',
  })
  if (!read) return undefined
  const { findings, segments } = read
  const used = new Set<string>()
  const items = findings.items.map((finding, i): Finding => {
    const named = {
      ...finding,
      trackingUid: finding.trackingUid || deriveUid('finding', textOf(report, '00080018') ?? '', i),
    }
    const reference = segments.get(finding.trackingUid)
    for (const { sopInstanceUid, segments: entries } of segmentations) {
      const segment = entries.find(entry =>
        reference?.sopInstanceUid === sopInstanceUid
          ? entry.number === reference.segment
          : entry.trackingUid !== undefined && entry.trackingUid === finding.trackingUid,
      )
      if (!segment) continue
      used.add(`${sopInstanceUid} ${segment.number}`)
      if (segment.mask) return { ...named, mask: segment.mask }
    }
    return named
  })
  const others = segmentations.flatMap(({ sopInstanceUid, segments: entries }) =>
    entries
      .filter(entry => entry.mask && !used.has(`${sopInstanceUid} ${entry.number}`))
      .map(
        (entry): Finding => ({
          trackingIdentifier: entry.label,
          trackingUid: entry.trackingUid ?? deriveUid('segment', sopInstanceUid, entry.number),
          type: entry.type ?? c.lesion,
          ...(entry.category ? { category: entry.category } : {}),
          regions: [],
          mask: entry.mask!,
          measurements: [],
          evaluations: [],
        }),
      ),
  )
  return { ...findings, items: [...items, ...others] }
}
