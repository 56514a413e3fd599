import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from '@jest/globals'
import { textOf } from '../../src/dicom/dicomJson.js'
import { readPart10Header } from '../../src/dicom/part10.js'
import { decodeFrame } from '../../src/pixels/decodeFrame.js'
import { openFrames } from '../../src/pixels/frames.js'
import { normalizeFile } from '../../src/pixels/normalizeFile.js'
import { type ImageOptions, imageFile, picture } from '../fixtures/images.js'
import { hasProgram, testWhere } from '../fixtures/peers.js'

const scratch = mkdtempSync(join(tmpdir(), 'radbridge-compress-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

const t = '1.2.840.10008.1.2'
const syntaxes = {
  'RLE Lossless': `${t}.5`,
  'JPEG-LS Lossless': `${t}.4.80`,
  'JPEG 2000 Lossless': `${t}.4.90`,
  'HTJ2K Lossless': `${t}.4.201`,
}
/** Programs that are not ours, where there is one for a syntax. */
const decoders: Readonly<Record<string, [string, ...string[]]>> = {
  [`${t}.5`]: ['dcmdrle'],
  [`${t}.4.80`]: ['dcmdjpls'],
  [`${t}.4.90`]: ['gdcmconv', '--raw'],
}
const images: Readonly<Record<string, ImageOptions>> = {
  '8 bits': { rows: 61, columns: 47, bits: 8 },
  '12 of 16 bits': { rows: 64, columns: 50, bits: 12 },
  '16 bits': { rows: 64, columns: 50, bits: 16 },
  '16 bits, signed': { rows: 64, columns: 50, bits: 16, signed: true },
  '12 of 16 bits, signed': { rows: 64, columns: 50, bits: 12, signed: true },
  '12 of 16 bits, MONOCHROME1': { rows: 33, columns: 50, bits: 12, photometric: 'MONOCHROME1' },
  'three frames': { rows: 40, columns: 31, bits: 12, frames: 3 },
  'RGB by pixel': { rows: 48, columns: 52, bits: 8, colour: true },
  'RGB by plane': { rows: 48, columns: 52, bits: 8, colour: true, planar: 1 },
  'RGB, two frames': { rows: 31, columns: 21, bits: 8, colour: true, frames: 2 },
}

async function samplesOf(path: string): Promise<number[]> {
  const source = await openFrames(path)
  try {
    const all: number[] = []
    for (let frame = 0; frame < source.image.frames; frame++)
      all.push(...(await decodeFrame(source, frame, {})).samples)
    return all
  } finally {
    await source.close()
  }
}
function headerOf(path: string) {
  const outcome = readPart10Header(readFileSync(path), true)
  if (outcome.outcome !== 'header') throw new Error('no header')
  return outcome.header
}
async function compress(bytes: Buffer, syntax: string): Promise<{ input: string; output: string }> {
  const [input, output] = [join(scratch, 'in.dcm'), join(scratch, 'out.dcm')]
  writeFileSync(input, bytes)
  await normalizeFile(input, output, { keepPhotometric: true, compress: syntax })
  return { input, output }
}

describe.each(Object.entries(syntaxes))('%s', (_, syntax) => {
  test.each(Object.entries(images))('%s: comes back as it was, and is the same object', async (_name, options) => {
    const { input, output } = await compress(imageFile(options), syntax)
    const [before, after] = [headerOf(input), headerOf(output)]
    expect(after.transferSyntax.uid).toBe(syntax)
    expect(await samplesOf(output)).toEqual(await samplesOf(input))
    // Only what has to say how the pixels are stored now is another.
    const changed = Object.keys({ ...before.json, ...after.json }).filter(
      tag => JSON.stringify(before.json[tag]) !== JSON.stringify(after.json[tag]),
    )
    expect(changed.filter(tag => !['00280004', '00280006', '7FE00010'].includes(tag))).toEqual([])
    const isTransformed = options.colour && syntax !== `${t}.5` && syntax !== `${t}.4.80`
    expect(textOf(after.json, '00280004')).toBe(isTransformed ? 'YBR_RCT' : textOf(before.json, '00280004'))
  })

  const [program, ...flags] = decoders[syntax] ?? ['']
  if (program)
    testWhere(hasProgram(program), `${program} is not installed`)(`${program} reads the same`, async () => {
      for (const [name, options] of Object.entries(images)) {
        const { output } = await compress(imageFile(options), syntax)
        const plain = join(scratch, 'plain.dcm')
        execFileSync(program, [...flags, output, plain])
        expect([name, await samplesOf(plain)]).toEqual([name, await samplesOf(output)])
        if (options.photometric === undefined)
          expect([name, await samplesOf(plain)]).toEqual([name, [...picture(options)]])
      }
    })
})

test('what stands above Bits Stored is not lost', async () => {
  const options = { rows: 20, columns: 30, bits: 12 } as const
  const bytes = imageFile(options)
  const { pixelData } = headerOf((await compress(bytes, `${t}.5`)).input)
  bytes.writeUInt16LE(0xf123, pixelData!.offset)
  for (const syntax of Object.values(syntaxes)) {
    const { output } = await compress(bytes, syntax)
    const source = await openFrames(output)
    expect([syntax, (await decodeFrame(source, 0, { keepPhotometric: true })).samples[0]]).toEqual([syntax, 0xf123])
    await source.close()
  }
})

test('what cannot be compressed is refused, and leaves no file', async () => {
  const [input, output] = [join(scratch, 'in.dcm'), join(scratch, 'none.dcm')]
  const options = { keepPhotometric: true, compress: `${t}.4.90` }
  writeFileSync(input, imageFile({ rows: 16, columns: 16, bits: 8, colour: true, photometric: 'YBR_FULL' }))
  await expect(normalizeFile(input, output, options)).rejects.toThrow(/YBR_FULL is not compressed/)
  expect(() => readFileSync(output)).toThrow('ENOENT')
  expect(() => readFileSync(`${output}.part`)).toThrow('ENOENT')
})
