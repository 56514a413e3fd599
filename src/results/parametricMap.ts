import type { Findings, ValueMap } from '../analysis/findings.js'
import { concepts as c } from '../dicom/concepts.js'
import { type DicomJson, numberOf, textOf } from '../dicom/dicomJson.js'
import { sopClass } from '../dicom/sopClasses.js'
import { deriveUid } from '../dicom/uid.js'
import { codeSequence } from './contentItem.js'
import { dimensionIndex, planesOf, referencedSeries, sharedGroups, sourceGroups } from './multiFrame.js'
import type { ResultContext } from './resultContext.js'
import { madeBy, patientAndStudy, type ResultObject, sequence, written } from './resultObject.js'

/**
 * Parametric Maps (PS3.3 A.75) of the value maps: 32 bit floats, a frame for each slice. Only of images that have a place in the patient; maps of
 * others, or of another size than their image, come as pictures alone.
 */
export function parametricMaps(findings: Findings, context: ResultContext): ResultObject[] {
  return (findings.maps ?? []).flatMap((map, i) => parametricMap(map, i + 1, findings, context) ?? [])
}

function parametricMap(
  map: ValueMap,
  number: number,
  findings: Findings,
  context: ResultContext,
): ResultObject | undefined {
  const sources = new Map(context.sources.map(source => [source.sopInstanceUid, source]))
  const planes = planesOf(map.slices, sources)
  const first = planes?.order[0]
  if (!planes || !first?.position) return undefined
  const { header, seriesInstanceUid: sourceSeries } = first.source
  const [rows, columns] = [numberOf(header, '00280010')!, numberOf(header, '00280011')!]
  if (map.slices.some(slice => slice.rows !== rows || slice.columns !== columns)) return undefined
  const { studyInstanceUid, revision, route, arm } = context
  const sopInstanceUid = deriveUid('map', studyInstanceUid, revision, route, arm, number)
  const seriesInstanceUid = deriveUid('map series', studyInstanceUid, route, arm)
  const dimension = deriveUid('map dimension', sopInstanceUid)
  const slices = [...map.slices].sort((a, b) => planes.indexOf(a) - planes.indexOf(b))
  const values = new Uint8Array(slices.length * rows * columns * 4)
  for (const [i, slice] of slices.entries()) values.set(Buffer.from(slice.values, 'base64'), i * rows * columns * 4)
  const frameOfReference = textOf(header, '00200052')
  const dataset: DicomJson = {
    ...patientAndStudy(header),
    ...madeBy(findings, context),
    '00080008': { vr: 'CS', Value: ['DERIVED', 'PRIMARY', 'OTHER', 'QUANTITY'] },
    '00080016': { vr: 'UI', Value: [sopClass.parametricMap] },
    '00080018': { vr: 'UI', Value: [sopInstanceUid] },
    '00080060': { vr: 'CS', Value: [textOf(header, '00080060') ?? 'OT'] },
    '00081115': referencedSeries(sourceSeries, planes.order),
    '0020000D': { vr: 'UI', Value: [studyInstanceUid] },
    '0020000E': { vr: 'UI', Value: [seriesInstanceUid] },
    '00200011': { vr: 'IS', Value: ['9005'] },
    '00200013': { vr: 'IS', Value: [String(revision * 1000 + number)] },
    '00200060': { vr: 'CS' }, // Laterality: the series may show both sides
    '00189004': { vr: 'CS', Value: ['RESEARCH'] }, // Content Qualification: nothing here is cleared for diagnosis
    '00280302': { vr: 'CS', Value: ['NO'] },
    '00400555': { vr: 'SQ' },
    ...(frameOfReference ? { '00200052': { vr: 'UI', Value: [frameOfReference] } } : {}),
    '00201040': { vr: 'LO' },
    '00209221': sequence({ '00209164': { vr: 'UI', Value: [dimension] } }),
    '00209222': sequence(dimensionIndex(dimension, '00200032', '00209113', 'Slice position')),
    '00280002': { vr: 'US', Value: [1] },
    '00280004': { vr: 'CS', Value: ['MONOCHROME2'] },
    '00280008': { vr: 'IS', Value: [String(slices.length)] },
    '00280010': { vr: 'US', Value: [rows] },
    '00280011': { vr: 'US', Value: [columns] },
    '00280100': { vr: 'US', Value: [32] },
    '00280301': { vr: 'CS', Value: ['NO'] },
    '00282110': { vr: 'CS', Value: ['00'] },
    '00089205': { vr: 'CS', Value: ['MONOCHROME'] },
    '00089206': { vr: 'CS', Value: ['VOLUME'] },
    '00089207': { vr: 'CS', Value: ['NONE'] },
    '00700080': { vr: 'CS', Value: ['AI_MAP'] },
    '00700081': { vr: 'LO', Value: [`${map.label}; AI, not verified`.slice(0, 64)] },
    '00700084': { vr: 'PN', Value: [{ Alphabetic: 'Radbridge' }] },
    '20500020': { vr: 'CS', Value: ['IDENTITY'] },
    '52009229': sequence({
      ...sharedGroups(first),
      '00289132': sequence(windowOf(values)),
      '00289145': sequence({
        '00281052': { vr: 'DS', Value: [0] },
        '00281053': { vr: 'DS', Value: [1] },
        '00281054': { vr: 'LO', Value: ['US'] },
      }),
      '00409092': sequence({
        '00089007': { vr: 'CS', Value: ['DERIVED', 'PRIMARY', 'OTHER', 'QUANTITY'] },
        '00089205': { vr: 'CS', Value: ['MONOCHROME'] },
        '00089206': { vr: 'CS', Value: ['VOLUME'] },
        '00089207': { vr: 'CS', Value: ['NONE'] },
      }),
      '00409096': sequence({
        '00283003': { vr: 'LO', Value: [map.label] },
        '004008EA': codeSequence(map.unit),
        '00409210': { vr: 'SH', Value: [map.quantity.value.slice(0, 16)] },
        '00409213': { vr: 'FD', Value: [highest(values)] },
        '00409214': { vr: 'FD', Value: [lowest(values)] },
        '00409220': sequence({
          '0040A040': { vr: 'CS', Value: ['CODE'] },
          '0040A043': codeSequence(c.quantity),
          '0040A168': codeSequence(map.quantity),
        }),
        '00409224': { vr: 'FD', Value: [0] },
        '00409225': { vr: 'FD', Value: [1] },
      }),
    }),
    '52009230': {
      vr: 'SQ',
      Value: slices.map(slice => ({
        ...sourceGroups(planes.order[planes.indexOf(slice) - 1]!, c.visualExplanation),
        '00209111': sequence({ '00209157': { vr: 'UL', Value: [planes.indexOf(slice)] } }),
      })),
    },
  }
  return written(dataset, { '7FE00008': { vr: 'OF', Value: [values.buffer] } })
}

function lowest(values: Uint8Array<ArrayBuffer>): number {
  return new Float32Array(values.buffer).reduce((a, b) => Math.min(b, a), Number.POSITIVE_INFINITY)
}

function highest(values: Uint8Array<ArrayBuffer>): number {
  return new Float32Array(values.buffer).reduce((a, b) => Math.max(b, a), Number.NEGATIVE_INFINITY)
}

/** A window over all values: viewers need one to show floats. */
function windowOf(values: Uint8Array<ArrayBuffer>): DicomJson {
  const [low, high] = [lowest(values), highest(values)]
  return {
    '00281050': { vr: 'DS', Value: [Number(((low + high) / 2).toPrecision(8))] },
    '00281051': { vr: 'DS', Value: [Math.max(1e-6, Number((high - low).toPrecision(8)))] },
    '00281056': { vr: 'CS', Value: ['LINEAR_EXACT'] },
  }
}
