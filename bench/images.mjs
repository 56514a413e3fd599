// Generated images, compressed by the peers that are installed (dcmtk, gdcm) and by the HTJ2K encoder of OpenJPH.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { elementHeader, fileMeta } from '../dist/dicom/rewrite.js'

const require = createRequire(import.meta.url)
const base = '1.2.840.10008.1.2'

export function hasProgram(name) {
  try {
    execFileSync('sh', ['-c', `command -v ${name}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Samples of a picture that looks a little like anatomy: soft shapes, edges, noise. `{ rows, columns, bits, colour }` */
export function picture({ rows, columns, bits, colour = false }) {
  const channels = colour ? 3 : 1
  const samples = new Int32Array(rows * columns * channels)
  const range = 2 ** bits
  let state = 4711
  for (let y = 0, at = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const body = ((x - columns / 2) / columns) ** 2 * 5 + ((y - rows / 2) / rows) ** 2 * 6 < 1
      const lung =
        ((Math.abs(x - columns / 2) - columns / 5) / columns) ** 2 * 60 + ((y - rows / 2) / rows) ** 2 * 20 < 1
      const soft = Math.sin(x / 19) * Math.cos(y / 23) * 0.05
      for (let c = 0; c < channels; c++) {
        state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
        const noise = ((state >> 16) / 32768 - 0.5) * 0.01
        const level = (body ? (lung ? 0.1 : 0.45) : 0.01) + soft * (body ? 1 : 0.1) + noise + c * 0.05
        samples[at++] = Math.max(
          0,
          Math.min(range - 1, Math.round(level * range * 0.06 + (bits === 8 ? level * 100 : 0))),
        )
      }
    }
  }
  return samples
}

function element(tag, vr, value) {
  const bytes =
    typeof value === 'number'
      ? Buffer.from(Uint16Array.of(value).buffer)
      : Buffer.isBuffer(value)
        ? value
        : Buffer.from(value.length % 2 ? value + (vr === 'UI' ? '\0' : ' ') : value, 'latin1')
  return Buffer.concat([elementHeader(tag, vr, bytes.length), bytes])
}

/** A Part 10 file around a Pixel Data element. */
export function file(options, transferSyntaxUid, pixelData, number = 1) {
  const { rows, columns, bits, colour = false, frames = 1 } = options
  const sopInstanceUid = `1.2.826.0.1.3680043.10.1.${number}`
  return Buffer.concat([
    fileMeta({
      sopClassUid: '1.2.840.10008.5.1.4.1.1.7',
      sopInstanceUid,
      transferSyntaxUid,
      implementationClassUid: '1.2.3.4',
    }),
    element('00080005', 'CS', 'ISO_IR 100'),
    element('00080016', 'UI', '1.2.840.10008.5.1.4.1.1.7'),
    element('00080018', 'UI', sopInstanceUid),
    element('00080060', 'CS', 'OT'),
    element('00100010', 'PN', 'Bench^Image'),
    element('00100020', 'LO', 'B1'),
    element('0020000D', 'UI', '1.2.826.0.1.3680043.10.2'),
    element('0020000E', 'UI', '1.2.826.0.1.3680043.10.3'),
    element('00280002', 'US', colour ? 3 : 1),
    element('00280004', 'CS', colour ? 'RGB' : 'MONOCHROME2'),
    ...(colour ? [element('00280006', 'US', 0)] : []),
    ...(frames > 1 ? [element('00280008', 'IS', String(frames))] : []),
    element('00280010', 'US', rows),
    element('00280011', 'US', columns),
    element('00280100', 'US', bits > 8 ? 16 : 8),
    element('00280101', 'US', bits),
    element('00280102', 'US', bits - 1),
    element('00280103', 'US', 0),
    pixelData,
  ])
}

export function uncompressed(options, number = 1) {
  const samples = picture(options)
  const bytes = options.bits > 8 ? Buffer.from(Uint16Array.from(samples).buffer) : Buffer.from(Uint8Array.from(samples))
  return file(options, `${base}.1`, element('7FE00010', options.bits > 8 ? 'OW' : 'OB', bytes), number)
}

export async function htj2k(options, number = 1) {
  return file(options, `${base}.4.201`, encapsulate([await htj2kStream(options)]), number)
}

/** One object of so many frames, all alike. */
export async function multiFrame(options, frames) {
  const stream = await htj2kStream(options)
  return file({ ...options, frames }, `${base}.4.201`, encapsulate(Array(frames).fill(stream)))
}

async function htj2kStream(options) {
  const { HTJ2KEncoder } = await require('@cornerstonejs/codec-openjph/wasmjs')({ print() {} })
  const encoder = new HTJ2KEncoder()
  const samples = picture(options)
  const info = {
    width: options.columns,
    height: options.rows,
    bitsPerSample: options.bits,
    componentCount: options.colour ? 3 : 1,
    isSigned: false,
    isUsingColorTransform: options.colour ?? false,
  }
  encoder
    .getDecodedBuffer(info)
    .set(options.bits > 8 ? new Uint8Array(Uint16Array.from(samples).buffer) : Uint8Array.from(samples))
  encoder.setQuality(true, 0)
  encoder.encode()
  const stream = Buffer.from(encoder.getEncodedBuffer())
  encoder.delete()
  return stream
}

function encapsulate(streams) {
  const items = streams.flatMap(stream => {
    const header = Buffer.from('feff00e000000000', 'hex')
    header.writeUInt32LE(stream.length + (stream.length % 2), 4)
    return [header, stream, Buffer.alloc(stream.length % 2)]
  })
  return Buffer.concat([
    Buffer.from('e07f10004f420000fffffffffeff00e000000000', 'hex'),
    ...items,
    Buffer.from('feffdde000000000', 'hex'),
  ])
}

/** Compressors by name: arguments before the input and output files. */
export const compressors = {
  RLE: ['gdcmconv', '--rle'],
  'JPEG lossless': ['gdcmconv', '--jpeg'],
  'JPEG-LS': ['gdcmconv', '--jpegls'],
  'JPEG 2000': ['gdcmconv', '--j2k'],
}

/** @returns the compressed file, or undefined where the program is absent or refuses */
export function compress(bytes, [program, ...args]) {
  const folder = mkdtempSync(join(tmpdir(), 'radbridge-images-'))
  try {
    writeFileSync(join(folder, 'in.dcm'), bytes)
    execFileSync(program, [...args, join(folder, 'in.dcm'), join(folder, 'out.dcm')], { stdio: 'ignore' })
    return readFileSync(join(folder, 'out.dcm'))
  } catch {
    return undefined
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Small images in every syntax that can be made here, for mutation. */
export async function compressedImages() {
  const grey = { rows: 32, columns: 40, bits: 12 }
  const colour = { rows: 24, columns: 32, bits: 8, colour: true }
  const images = [
    { name: 'native grey', bytes: uncompressed(grey) },
    { name: 'native colour', bytes: uncompressed(colour) },
    { name: 'HTJ2K grey', bytes: await htj2k(grey) },
    { name: 'HTJ2K colour', bytes: await htj2k(colour) },
  ]
  const more = {
    ...compressors,
    'JPEG baseline': ['dcmcjpeg', '+eb'],
    'JPEG extended': ['dcmcjpeg', '+ee'],
    'JPEG lossless SV6': ['dcmcjpeg', '+el', '+sv', '6'],
    Deflated: ['dcmconv', '+td'],
    'Big Endian': ['dcmconv', '+tb'],
    Implicit: ['dcmconv', '+ti'],
  }
  for (const [name, command] of Object.entries(more)) {
    for (const [kind, source] of [
      ['grey', uncompressed(grey)],
      ['colour', uncompressed(colour)],
    ]) {
      const bytes = compress(source, command)
      if (bytes) images.push({ name: `${name} ${kind}`, bytes })
    }
  }
  return images
}
