import dcmjs from 'dcmjs'
import type { DicomJson } from './dicomJson.js'
import { explicitVrLittleEndian } from './transferSyntaxes.js'
import { implementationClassUid } from './uid.js'

dcmjs.log.setLevel('error')

/** A data set to be written: DICOM JSON, in which binary values may stand as `ArrayBuffer`; of encapsulated Pixel Data one for each frame. */
export type DataSetToWrite = Record<string, { vr: string; Value?: unknown[] }>

/**
 * Writes an object of our own as a Part 10 file in Explicit VR Little Endian. Received objects are never written so: they are stored
 * and forwarded byte for byte.
 * @param dataset with SOP Class and Instance UID; text must be declared as ISO_IR 192
 * @param transferSyntaxUid of an encapsulated syntax if Pixel Data holds compressed frames
 */
export function writePart10(dataset: DicomJson | DataSetToWrite, transferSyntaxUid = explicitVrLittleEndian): Buffer {
  const uid = (tag: string) => ({ vr: 'UI', Value: [(dataset[tag]?.Value as string[] | undefined)?.[0] ?? ''] })
  const file = new dcmjs.data.DicomDict({
    '00020001': { vr: 'OB', Value: [new Uint8Array([0, 1]).buffer] },
    '00020002': uid('00080016'),
    '00020003': uid('00080018'),
    '00020010': { vr: 'UI', Value: [transferSyntaxUid] },
    '00020012': { vr: 'UI', Value: [implementationClassUid] },
  })
  file.dict = withValues(dataset as DataSetToWrite)
  // Attributes copied from a received object may be longer than their VR allows; they stay as they are.
  return Buffer.from(file.write({ allowInvalidVRLength: true, fragmentMultiframe: false }))
}

/** dcmjs wants a Value in each element, and the elements in the order of their tags. */
function withValues(dataset: DataSetToWrite): Record<string, { vr: string; Value: unknown[] }> {
  return Object.fromEntries(
    Object.entries(dataset)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([tag, { vr, Value = [] }]) => [
        tag,
        { vr, Value: vr === 'SQ' ? Value.map(item => withValues(item as DataSetToWrite)) : Value },
      ]),
  )
}
