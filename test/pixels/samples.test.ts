import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { decodeFrame } from '../../src/pixels/decodeFrame.js'
import { packBits } from '../../src/pixels/embeddedOverlays.js'
import { openFrames } from '../../src/pixels/frames.js'
import { hasSamples, samples, testWhere } from '../fixtures/peers.js'

interface Row {
  path: string
  hash: string | undefined
}

const rows: Row[] = hasSamples
  ? readFileSync(join(samples, 'MANIFEST.tsv'), 'utf8')
      .trim()
      .split('\n')
      .slice(1)
      .map(line => line.split('\t'))
      .map(fields => ({ path: fields[0]!, hash: fields[14]?.length === 64 ? fields[14] : undefined }))
  : []

const pydicom = (name: string) => `pydicom/test_files/${name}`

/** Files that cannot be decoded, and what is said of them; all others without pixels say that they hold none. */
const problems: Readonly<Record<string, string>> = {
  'pydicom/palettes/winter.dcm': '(0008,0018) is there twice',
  [pydicom('ExplVR_BigEndNoMeta.dcm')]: 'no DICM prefix',
  [pydicom('ExplVR_LitEndNoMeta.dcm')]: 'no DICM prefix',
  [pydicom('no_meta.dcm')]: 'no DICM prefix',
  [pydicom('rtstruct.dcm')]: 'no DICM prefix',
  [pydicom('JPEG2000-embedded-sequence-delimiter.dcm')]: 'the code stream is 3722445056 × 1024 pixels', // its SIZ is overwritten
  [pydicom('MR_truncated.dcm')]: 'the file ends inside Pixel Data',
  [pydicom('meta_missing_tsyntax.dcm')]: 'no Transfer Syntax UID',
  [pydicom('nested_priv_SQ.dcm')]: 'Rows (0028,0010) is missing',
  [pydicom('rtplan_truncated.dcm')]: 'the data set ends inside an element',
  [pydicom('dicomdirtests/DICOMDIR-nooffset')]: 'the data set ends inside an element',
}

/** The manifest hashes these as they stand in the file; decoded they are the same as another file. */
const twins: Readonly<Record<string, string>> = {
  [pydicom('MR_small_bigendian.dcm')]: pydicom('MR_small.dcm'),
  [pydicom('MR_small_expb.dcm')]: pydicom('MR_small.dcm'),
  [pydicom('MR_small_padded.dcm')]: pydicom('MR_small.dcm'),
  [pydicom('rtdose_expb.dcm')]: pydicom('rtdose.dcm'),
  [pydicom('rtdose_expb_1frame.dcm')]: pydicom('rtdose_1frame.dcm'),
  [pydicom('SC_rgb_small_odd_big_endian.dcm')]: pydicom('SC_rgb_small_odd.dcm'),
}

/** The manifest hashes these with the byte that makes Pixel Data even: the byte. */
const padded: Readonly<Record<string, number>> = {
  'highdicom/seg_image_sm_dots.dcm': 0x30,
  'highdicom/seg_image_sm_dots_tiled_full.dcm': 0,
  [pydicom('SC_rgb_small_odd.dcm')]: 0,
  [pydicom('SC_rgb_small_odd_jpeg.dcm')]: 0,
}

/** Decided otherwise than by the manifest, and why. */
const decided: Readonly<Record<string, string>> = {
  [pydicom('ExplVR_BigEnd.dcm')]: 'hashed as stored, by plane; test below',
  [pydicom('J2K_pixelrep_mismatch.dcm')]:
    'unsigned code stream, Pixel Representation 1: the attribute decides; test below',
  [pydicom('SC_rgb_rle_16bit.dcm')]: 'gdcm and dcmtk disagree; ours is dcmtk’s (peers.test.ts)',
  [pydicom('SC_rgb_rle_32bit.dcm')]: 'gdcm and dcmtk disagree; ours is dcmtk’s (peers.test.ts)',
  'wg04/RG3_JPLY.dcm':
    '12 bits in the stream, 10 by the attribute, gdcm and dcmtk disagree; ours is dcmtk’s (peers.test.ts)',
}

describe('every sample file decodes to the hash of the manifest, or does what is written here', () => {
  testWhere(hasSamples, 'sample files are absent')('there are such files', () => {
    expect(rows.filter(row => row.hash && !(row.path in problems)).length).toBeGreaterThan(140)
  })
  for (const { path, hash } of rows) {
    if (path in decided) continue
    if (!hash || path in problems) {
      test(`${path} is told`, async () => {
        await expect(pixelHash(path)).rejects.toThrow(problems[path] ?? 'the object holds no Pixel Data')
      })
    } else if (path in twins) {
      test(`${path} is ${twins[path]}`, async () => expect(await pixelHash(path)).toBe(await pixelHash(twins[path]!)))
    } else test(path, async () => expect(await pixelHash(path, padded[path])).toBe(hash))
  }
})

const sampleTest = testWhere(hasSamples, 'sample files are absent')

sampleTest('planes of a Big Endian file are interleaved', async () => {
  const path = pydicom('ExplVR_BigEnd.dcm')
  const file = readFileSync(join(samples, path))
  const source = await openFrames(join(samples, path))
  const { samples: rgb, rows, columns } = await decodeFrame(source, 0, { keepPhotometric: true })
  await source.close()
  const stored = Buffer.from(file.subarray(source.header.pixelData!.offset))
  if (source.header.pixelData!.vr === 'OW') stored.swap16()
  const pixels = rows * columns
  for (const pixel of [0, 1, 777, pixels - 1]) {
    for (const plane of [0, 1, 2]) expect(rgb[pixel * 3 + plane]).toBe(stored[plane * pixels + pixel])
  }
})

sampleTest('Pixel Representation decides about the sign of a JPEG 2000 stream', async () => {
  const source = await openFrames(join(samples, pydicom('J2K_pixelrep_mismatch.dcm')))
  const { samples: values, bitsStored } = await decodeFrame(source, 0)
  await source.close()
  expect(bitsStored).toBe(13)
  expect(values[0]).toBe(-2000) // outside of the scanned circle
})

async function pixelHash(path: string, padding?: number): Promise<string> {
  const source = await openFrames(join(samples, path))
  const { frames, rows, columns, bitsAllocated } = source.image
  try {
    const digest = createHash('sha256')
    const packed = new Uint8Array(bitsAllocated === 1 ? Math.ceil((rows * columns * frames) / 8) : 0)
    for (let frame = 0; frame < frames; frame++) {
      const { samples: pixels } = await decodeFrame(source, frame, { keepPhotometric: true })
      if (bitsAllocated === 1) packBits(pixels, packed, frame * rows * columns)
      else digest.update(new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.byteLength))
    }
    digest.update(packed)
    if (padding !== undefined) digest.update(Buffer.of(padding))
    return digest.digest('hex')
  } finally {
    await source.close()
  }
}
