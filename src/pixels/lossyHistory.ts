import { textOf } from '../dicom/dicomJson.js'
import type { Replacement } from '../dicom/rewrite.js'
import type { NormalizedFrame } from './decodeFrame.js'
import type { FrameSource } from './frames.js'
import { text } from './mirrorDisplayAttributes.js'

/** Lossy Image Compression Method (0028,2114) by transfer syntax, PS3.3 C.7.6.1.1.5.1. */
const methods: Readonly<Record<string, string>> = {
  '1.2.840.10008.1.2.4.50': 'ISO_10918_1',
  '1.2.840.10008.1.2.4.51': 'ISO_10918_1',
  '1.2.840.10008.1.2.4.81': 'ISO_14495_1',
  '1.2.840.10008.1.2.4.91': 'ISO_15444_1',
  '1.2.840.10008.1.2.4.203': 'ISO_15444_15',
  '1.2.840.10008.1.2.4.111': 'ISO_18181_1',
  '1.2.840.10008.1.2.4.112': 'ISO_18181_1',
}

/**
 * What lossy compression has done to the pixels is never forgotten: attributes that say so are kept (by not being here), and those that are
 * missing, although the transfer syntax is a lossy one, are added.
 */
export function lossyHistory({ header }: FrameSource, frame: NormalizedFrame): [string, Replacement][] {
  const lossy = header.transferSyntax.lossy && frame.lossy !== false
  if (!lossy || textOf(header.json, '00282110') === '01') return []
  const method = methods[header.transferSyntax.uid]
  return [
    ['00282110', text('CS', '01')],
    ...(method && !header.json['00282114'] ? [['00282114', text('CS', method)] as [string, Replacement]] : []),
  ]
}
