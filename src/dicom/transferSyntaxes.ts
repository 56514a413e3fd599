/** Transfer syntaxes of PS3.6 table A-1 and how their data sets and pixels are encoded. */
export interface TransferSyntax {
  uid: string
  name: string
  encoding: 'implicit-little' | 'explicit-little' | 'explicit-big' | 'deflated'
  /** Encapsulated Pixel Data (PS3.5 A.4). */
  encapsulated: boolean
  lossy: boolean
}

const base = '1.2.840.10008.1.2'
const encapsulated = (suffix: string, name: string, lossy = false): TransferSyntax => ({
  uid: base + suffix,
  name,
  encoding: 'explicit-little',
  encapsulated: true,
  lossy,
})

/** In the order of their UIDs. */
export const transferSyntaxes: readonly TransferSyntax[] = [
  { uid: base, name: 'Implicit VR Little Endian', encoding: 'implicit-little', encapsulated: false, lossy: false },
  {
    uid: `${base}.1`,
    name: 'Explicit VR Little Endian',
    encoding: 'explicit-little',
    encapsulated: false,
    lossy: false,
  },
  encapsulated('.1.98', 'Encapsulated Uncompressed Explicit VR Little Endian'),
  {
    uid: `${base}.1.99`,
    name: 'Deflated Explicit VR Little Endian',
    encoding: 'deflated',
    encapsulated: false,
    lossy: false,
  },
  {
    uid: `${base}.2`,
    name: 'Explicit VR Big Endian (retired)',
    encoding: 'explicit-big',
    encapsulated: false,
    lossy: false,
  },
  encapsulated('.4.50', 'JPEG Baseline (Process 1)', true),
  encapsulated('.4.51', 'JPEG Extended (Process 2 & 4)', true),
  encapsulated('.4.57', 'JPEG Lossless, Non-Hierarchical (Process 14)'),
  encapsulated('.4.70', 'JPEG Lossless, First-Order Prediction (Process 14, Selection Value 1)'),
  encapsulated('.4.80', 'JPEG-LS Lossless'),
  encapsulated('.4.81', 'JPEG-LS Near-Lossless', true),
  encapsulated('.4.90', 'JPEG 2000 (Lossless Only)'),
  encapsulated('.4.91', 'JPEG 2000', true),
  encapsulated('.4.100', 'MPEG2 Main Profile / Main Level', true),
  encapsulated('.4.100.1', 'Fragmentable MPEG2 Main Profile / Main Level', true),
  encapsulated('.4.101', 'MPEG2 Main Profile / High Level', true),
  encapsulated('.4.101.1', 'Fragmentable MPEG2 Main Profile / High Level', true),
  encapsulated('.4.102', 'MPEG-4 AVC/H.264 High Profile / Level 4.1', true),
  encapsulated('.4.102.1', 'Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1', true),
  encapsulated('.4.103', 'MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1', true),
  encapsulated('.4.103.1', 'Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1', true),
  encapsulated('.4.104', 'MPEG-4 AVC/H.264 High Profile / Level 4.2 for 2D Video', true),
  encapsulated('.4.104.1', 'Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 for 2D Video', true),
  encapsulated('.4.105', 'MPEG-4 AVC/H.264 High Profile / Level 4.2 for 3D Video', true),
  encapsulated('.4.105.1', 'Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 for 3D Video', true),
  encapsulated('.4.106', 'MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2', true),
  encapsulated('.4.106.1', 'Fragmentable MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2', true),
  encapsulated('.4.107', 'HEVC/H.265 Main Profile / Level 5.1', true),
  encapsulated('.4.108', 'HEVC/H.265 Main 10 Profile / Level 5.1', true),
  encapsulated('.4.110', 'JPEG XL Lossless'),
  encapsulated('.4.111', 'JPEG XL JPEG Recompression', true),
  encapsulated('.4.112', 'JPEG XL', true),
  encapsulated('.4.201', 'High-Throughput JPEG 2000 (Lossless Only)'),
  encapsulated('.4.202', 'High-Throughput JPEG 2000 with RPCL Options (Lossless Only)'),
  encapsulated('.4.203', 'High-Throughput JPEG 2000', true),
  encapsulated('.5', 'RLE Lossless'),
  encapsulated('.8.1', 'Deflated Image Frame Compression'),
]

const byUid = new Map(transferSyntaxes.map(syntax => [syntax.uid, syntax]))

/** @returns undefined for a syntax that Radbridge does not store (retired ones, JPIP references, private ones) */
export function findTransferSyntax(uid: string): TransferSyntax | undefined {
  return byUid.get(uid)
}

export const implicitVrLittleEndian = base
export const explicitVrLittleEndian = `${base}.1`
