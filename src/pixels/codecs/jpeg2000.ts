import { type ImageDescription, PixelProblem } from '../imageDescription.js'
import { checkDimensions, type DecodedFrame } from './codec.js'
import { copySamples, type WasmDecoder, wasmDecoder } from './wasmModule.js'

interface FrameInfo {
  width: number
  height: number
  bitsPerSample: number
  componentCount: number
}
interface Jpeg2000Decoder extends WasmDecoder {
  getFrameInfo(): FrameInfo
}
const openJpeg = wasmDecoder<Jpeg2000Decoder>('@cornerstonejs/codec-openjpeg/decodewasmjs', 'J2KDecoder')
const openJph = wasmDecoder<Jpeg2000Decoder>('@cornerstonejs/codec-openjph/wasmjs', 'HTJ2KDecoder')

/** JPEG 2000 (ISO 15444-1) by OpenJPEG; the component transform is undone by the decoder, as the code stream says. */
export function decodeJpeg2000(stream: Buffer, image: ImageDescription): Promise<DecodedFrame> {
  return decode(openJpeg, stream, image, 'the JPEG 2000 code stream is corrupt')
}

/** High-Throughput JPEG 2000 (ISO 15444-15) by OpenJPH. A plain JPEG 2000 stream under its name is decoded as that. */
export function decodeHtj2k(stream: Buffer, image: ImageDescription): Promise<DecodedFrame> {
  const highThroughput = readSiz(codeStreamOf(stream)).highThroughput
  return decode(highThroughput ? openJph : openJpeg, stream, image, 'the HTJ2K code stream is corrupt')
}

async function decode(
  decoder: typeof openJpeg,
  stream: Buffer,
  image: ImageDescription,
  problem: string,
): Promise<DecodedFrame> {
  const codeStream = codeStreamOf(stream)
  const siz = readSiz(codeStream)
  checkDimensions(siz, image)
  checkTileParts(codeStream)
  const coding = readCod(codeStream)
  return decoder(codeStream, problem, done => {
    const { width, height, bitsPerSample, componentCount } = done.getFrameInfo()
    checkDimensions({ rows: height, columns: width, components: componentCount }, image)
    const samples = copySamples(done.getDecodedBuffer(), width * height * componentCount, bitsPerSample, problem)
    return {
      rows: height,
      columns: width,
      samplesPerPixel: componentCount,
      samples,
      precision: bitsPerSample,
      ...colourOf(coding, siz.components, image),
      ...(coding ? { lossy: !coding.reversible } : {}),
      ...disagreementAboutSign(siz.signed, image),
      planarConfiguration: 0,
    }
  })
}

/** The Multiple Component Transformation of the code stream decides, not the attribute: what it made is RGB once undone. */
function colourOf(coding: Coding | undefined, components: number, image: ImageDescription): { colour?: 'RGB' } {
  if (components !== 3) return {}
  // YBR_RCT and YBR_ICT only name that transform: without it there was never anything but RGB.
  return coding?.componentTransform || image.photometric === 'YBR_RCT' || image.photometric === 'YBR_ICT'
    ? { colour: 'RGB' }
    : {}
}

/** DICOM holds bare code streams (PS3.5 A.4.4); those in JP2 boxes (ISO 15444-1 annex I) are met too. */
function codeStreamOf(stream: Buffer): Buffer {
  if (stream.length >= 12 && stream.readUInt32BE(0) === 12 && stream.toString('latin1', 4, 8) === 'jP  ') {
    for (let at = 12; at + 8 <= stream.length; ) {
      const length = stream.readUInt32BE(at)
      const type = stream.toString('latin1', at + 4, at + 8)
      if (type === 'jp2c') return stream.subarray(at + (length === 1 ? 16 : 8))
      if (length < 8) break
      at += length
    }
  }
  if (stream.length < 4 || stream.readUInt32BE(0) !== 0xff4fff51) throw new PixelProblem('not a JPEG 2000 code stream')
  return stream
}

/** The SIZ segment (A.5.1), which is the first one. */
function readSiz(codeStream: Buffer) {
  if (codeStream.length < 42) throw new PixelProblem('the JPEG 2000 code stream is cut within its headers')
  const at = 6
  return {
    highThroughput: (codeStream.readUInt16BE(at) & 0x4000) !== 0,
    columns: codeStream.readUInt32BE(at + 2) - codeStream.readUInt32BE(at + 10),
    rows: codeStream.readUInt32BE(at + 6) - codeStream.readUInt32BE(at + 14),
    components: codeStream.readUInt16BE(at + 34),
    signed: (codeStream[at + 36]! & 0x80) !== 0,
  }
}

/**
 * Every tile-part says how long it is (Psot, A.4.2). A decoder may take what is there of a stream that was cut for the whole and fill up the rest,
 * so this is asked first.
 */
function checkTileParts(codeStream: Buffer): void {
  const cut = new PixelProblem('the JPEG 2000 code stream is cut')
  let at = 2
  while (at + 4 <= codeStream.length && codeStream.readUInt16BE(at) !== sot) at += 2 + codeStream.readUInt16BE(at + 2)
  for (;;) {
    if (at + 12 > codeStream.length) throw cut
    const length = codeStream.readUInt32BE(at + 6)
    if (length === 0) break // the last tile-part, up to the end of the code stream
    if (length < 14) throw new PixelProblem('the JPEG 2000 code stream is corrupt')
    at += length
    if (at > codeStream.length) throw cut
    if (at + 2 > codeStream.length || codeStream.readUInt16BE(at) !== sot) return // the end, with or without its marker
  }
  // PS3.5 A.4 pads a fragment to even length with one zero.
  const end = codeStream.at(-1) === 0 ? codeStream.length - 1 : codeStream.length
  if (codeStream.readUInt16BE(end - 2) !== eoc) throw cut
}

const [sot, eoc] = [0xff90, 0xffd9]

function disagreementAboutSign(signed: boolean, image: ImageDescription): { disagreements?: string[] } {
  if (signed === image.signed || image.samplesPerPixel === 3) return {}
  const [stream, attribute] = signed ? ['signed', 0] : ['unsigned', 1]
  return { disagreements: [`the code stream is ${stream}; Pixel Representation ${attribute} is believed`] }
}

interface Coding {
  /** A multiple component transformation was used. */
  componentTransform: boolean
  /** The 5-3 wavelet, not the 9-7 one. A reversible stream may still have been cut short of its last layers. */
  reversible: boolean
}

/** SGcod and SPcod of the COD segment (A.6.1). */
export function readCod(codeStream: Buffer): Coding | undefined {
  for (let at = 2; at + 13 < codeStream.length && codeStream[at] === 0xff; ) {
    const marker = codeStream[at + 1]!
    if (marker === 0x52) return { componentTransform: codeStream[at + 8] !== 0, reversible: codeStream[at + 13] === 1 }
    if (marker === 0x90 || marker === 0x93) break
    at += 2 + codeStream.readUInt16BE(at + 2)
  }
  return undefined
}
