import type { DicomJson } from '../dicom/dicomJson.js'
import { parseDataSet } from '../dicom/part10.js'
import { toDicomJson } from '../dicom/toDicomJson.js'
import { findTransferSyntax } from '../dicom/transferSyntaxes.js'
import type { Context } from './messageWriter.js'
import { ProtocolError } from './pdu.js'

/** The data set of a message that is no instance: an identifier, or what an event or an action is about. @throws ProtocolError */
export function readIdentifier({ transferSyntax }: Context, bytes: Buffer | undefined): DicomJson {
  if (!bytes) throw new ProtocolError('a message without the data set that belongs to it')
  const syntax = findTransferSyntax(transferSyntax)!
  const parsed = parseDataSet(bytes, 0, syntax, true)
  if (!('dataSet' in parsed)) throw new ProtocolError('a data set cannot be read')
  return toDicomJson(parsed.dataSet, syntax.encoding !== 'explicit-big')
}
