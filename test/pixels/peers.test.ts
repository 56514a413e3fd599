import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect } from '@jest/globals'
import { decodeFrame } from '../../src/pixels/decodeFrame.js'
import { openFrames } from '../../src/pixels/frames.js'
import { normalizeFile } from '../../src/pixels/normalizeFile.js'
import { type ImageOptions, imageFile, picture } from '../fixtures/images.js'
import { hasProgram, hasSamples, samples, testWhere } from '../fixtures/peers.js'

const scratch = mkdtempSync(join(tmpdir(), 'radbridge-peers-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))
const peers = hasProgram('dcmcjpeg') && hasProgram('gdcmconv')
const peerTest = testWhere(peers, 'dcmtk and gdcm are absent')

const greys: ImageOptions[] = [
  { rows: 62, columns: 48, bits: 8 }, // gdcm compresses no odd frames by RLE
  { rows: 64, columns: 50, bits: 12 },
  { rows: 64, columns: 50, bits: 16 },
  { rows: 64, columns: 50, bits: 16, signed: true },
  { rows: 40, columns: 30, bits: 12, frames: 3 },
]
const colours: ImageOptions[] = [
  { rows: 48, columns: 52, bits: 8, colour: true, planar: 0 },
  { rows: 48, columns: 52, bits: 8, colour: true, planar: 1 },
]
/** Peers' compressors by name; `$IN` and `$OUT` are files. */
const lossless: [string, string[]][] = [
  ...[1, 2, 3, 4, 5, 6, 7].map((sv): [string, string[]] => [
    `JPEG lossless, selection value ${sv}, by dcmtk`,
    ['dcmcjpeg', '+el', '+sv', String(sv), '$IN', '$OUT'],
  ]),
  ['JPEG lossless SV1 by dcmtk', ['dcmcjpeg', '+e1', '$IN', '$OUT']],
  ['JPEG-LS by dcmtk', ['dcmcjpls', '+el', '$IN', '$OUT']],
  ['RLE by dcmtk', ['dcmcrle', '$IN', '$OUT']],
  ['JPEG lossless by gdcm', ['gdcmconv', '--jpeg', '$IN', '$OUT']],
  ['JPEG-LS by gdcm', ['gdcmconv', '--jpegls', '$IN', '$OUT']],
  ['JPEG 2000 by gdcm', ['gdcmconv', '--j2k', '$IN', '$OUT']],
  ['RLE by gdcm', ['gdcmconv', '--rle', '$IN', '$OUT']],
  ['Big Endian by dcmtk', ['dcmconv', '+tb', '$IN', '$OUT']],
  ['Implicit by dcmtk', ['dcmconv', '+ti', '$IN', '$OUT']],
  ['Deflated by dcmtk', ['dcmconv', '+td', '$IN', '$OUT']],
]

describe('what dcmtk and gdcm compress without loss comes back as it was', () => {
  for (const options of [...greys, ...colours]) {
    for (const [name, command] of lossless) {
      if (options.colour && name.includes('gdcm') && options.planar === 1) continue // gdcm compresses planes apart: below
      peerTest(`${describeImage(options)}: ${name}`, async () => {
        const path = compress(options, command)
        expect(await decodeAll(path)).toEqual([...picture(options)])
      })
    }
  }
})

describe('lossy JPEG is within one of what dcmtk and gdcm decode', () => {
  const lossy: [string, ImageOptions, string[]][] = [
    ['Baseline, grey', { rows: 61, columns: 47, bits: 8 }, ['dcmcjpeg', '+eb', '$IN', '$OUT']],
    ['Extended, 8 bits', { rows: 61, columns: 47, bits: 8 }, ['dcmcjpeg', '+ee', '$IN', '$OUT']],
    ['Extended, 12 bits', { rows: 61, columns: 47, bits: 12 }, ['dcmcjpeg', '+ee', '$IN', '$OUT']],
    [
      'Extended, 12 bits, three frames',
      { rows: 40, columns: 30, bits: 12, frames: 3 },
      ['dcmcjpeg', '+ee', '$IN', '$OUT'],
    ],
    ['Baseline, RGB components', colours[0]!, ['dcmcjpeg', '+eb', '+cr', '$IN', '$OUT']],
    ['Baseline, YCbCr 4:4:4', colours[0]!, ['dcmcjpeg', '+eb', '+cy', '+s4', '$IN', '$OUT']],
    ['Baseline, YCbCr 4:2:2', colours[0]!, ['dcmcjpeg', '+eb', '+cy', '+s2', '$IN', '$OUT']],
    ['Baseline, YCbCr 4:2:2, of planes', colours[1]!, ['dcmcjpeg', '+eb', '+cy', '+s2', '$IN', '$OUT']],
    ['JPEG-LS near-lossless', { rows: 61, columns: 47, bits: 16 }, ['dcmcjpls', '+en', '+md', '3', '$IN', '$OUT']],
  ]
  for (const [name, options, command] of lossy) {
    peerTest(name, async () => {
      const path = compress(options, command)
      const decoder = command[0] === 'dcmcjpls' ? 'dcmdjpls' : 'dcmdjpeg'
      // +cn keeps YCbCr as it is, which is what "decode only" means for us.
      const options2 = decoder === 'dcmdjpeg' ? ['+cn', '+px'] : []
      const reference = join(scratch, 'reference.dcm')
      execFileSync(decoder, [...options2, path, reference])
      expectWithin(await decodeAll(path), await decodeAll(reference), 1)
    })
  }
})

describe('where gdcm and dcmtk disagree ours is what dcmtk decodes', () => {
  const cases: [string, string][] = [
    ['pydicom/test_files/SC_rgb_rle_16bit.dcm', 'dcmdrle'],
    ['pydicom/test_files/SC_rgb_rle_32bit.dcm', 'dcmdrle'],
    ['wg04/RG3_JPLY.dcm', 'dcmdjpeg'],
  ]
  for (const [path, decoder] of cases) {
    testWhere(peers && hasSamples, 'dcmtk or sample files are absent')(path, async () => {
      const reference = join(scratch, 'disputed.dcm')
      execFileSync(decoder, [join(samples, path), reference])
      expectWithin(await decodeAll(join(samples, path)), await decodeAll(reference), 1)
    })
  }
})

peerTest('a JPEG stream of RGB components that is labelled YBR_FULL_422 keeps its colours', async () => {
  const path = compress(colours[0]!, ['dcmcjpeg', '+eb', '+cr', '$IN', '$OUT'])
  const truth = await decodeAll(path)
  execFileSync('dcmodify', ['-nb', '-m', 'PhotometricInterpretation=YBR_FULL_422', path], { stdio: 'ignore' })
  const output = join(scratch, 'colours.dcm')
  const { changes, photometric } = await normalizeFile(path, output)
  expect(photometric).toEqual({ from: 'YBR_FULL_422', to: 'RGB' })
  expect(changes).toContain('the JPEG stream holds RGB, not YBR_FULL_422: the stream is believed')
  expect(await decodeAll(output)).toEqual(truth)
})

peerTest('YBR_FULL_422 by the attribute, compressed by RLE with all its samples, is YBR_FULL', async () => {
  const full = { ...colours[0]!, photometric: 'YBR_FULL' }
  const path = compress(full, ['dcmcrle', '$IN', '$OUT'])
  const [truth, output] = [join(scratch, 'truth.dcm'), join(scratch, 'labelled.dcm')]
  await normalizeFile(path, truth)
  execFileSync('dcmodify', ['-nb', '-m', 'PhotometricInterpretation=YBR_FULL_422', path], { stdio: 'ignore' })
  const { photometric } = await normalizeFile(path, output)
  expect(photometric).toEqual({ from: 'YBR_FULL_422', to: 'RGB' })
  expect(await decodeAll(output)).toEqual(await decodeAll(truth))
})

peerTest('planes that gdcm compressed apart are put together', async () => {
  const path = compress(colours[1]!, ['gdcmconv', '--rle', '$IN', '$OUT'])
  expect(await decodeAll(path)).toEqual([...picture(colours[1]!)])
})

describe('dcmtk reads what we normalize', () => {
  peerTest('a YCbCr 4:2:2 JPEG becomes the RGB that dcmtk makes of it', async () => {
    const path = compress(colours[0]!, ['dcmcjpeg', '+eb', '+cy', '+s2', '$IN', '$OUT'])
    const [ours, theirs] = [join(scratch, 'ours.dcm'), join(scratch, 'theirs.dcm')]
    await normalizeFile(path, ours)
    execFileSync('dcmdjpeg', ['+cp', '+px', path, theirs])
    execFileSync('dcmftest', [ours])
    expectWithin(await decodeAll(ours), await decodeAll(theirs), 2)
  })
  testWhere(peers && hasSamples, 'dcmtk or sample files are absent')(
    'a palette image becomes the RGB that dcmtk makes of it',
    async () => {
      const path = join(samples, 'pydicom/test_files/examples_palette.dcm')
      const [ours, theirs] = [join(scratch, 'rgb.dcm'), join(scratch, 'rgb.ppm')]
      await normalizeFile(path, ours)
      execFileSync('dcm2pnm', ['+op', path, theirs], { stdio: 'ignore' })
      const ppm = readFileSync(theirs)
      const pixels = ppm.subarray(ppm.length - 350 * 800 * 3)
      expectWithin(await decodeAll(ours), [...pixels], 1)
    },
  )
})

function describeImage({ bits, signed, colour, planar, frames }: ImageOptions): string {
  if (colour) return `RGB, planar configuration ${planar}`
  return `${bits} bits${signed ? ', signed' : ''}${frames ? `, ${frames} frames` : ''}`
}

function compress(options: ImageOptions, [program, ...args]: string[]): string {
  const [input, output] = [join(scratch, 'in.dcm'), join(scratch, 'out.dcm')]
  writeFileSync(input, imageFile(options))
  rmSync(output, { force: true })
  execFileSync(
    program!,
    args.map(arg => arg.replace('$IN', input).replace('$OUT', output)),
    { stdio: 'pipe' },
  )
  return output
}

async function decodeAll(path: string): Promise<number[]> {
  const source = await openFrames(path)
  try {
    const values: number[] = []
    for (let frame = 0; frame < source.image.frames; frame++) {
      const { samples: pixels } = await decodeFrame(source, frame, { keepPhotometric: true })
      for (const value of pixels) values.push(value)
    }
    return values
  } finally {
    await source.close()
  }
}

function expectWithin(ours: number[], theirs: number[], tolerance: number): void {
  expect(ours.length).toBe(theirs.length)
  const worst = ours.reduce((most, value, i) => Math.max(most, Math.abs(value - theirs[i]!)), 0)
  expect(worst).toBeLessThanOrEqual(tolerance)
}
