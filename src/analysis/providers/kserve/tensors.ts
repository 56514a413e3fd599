import { parseJsonText } from '../../../platform/jsonText.js'
import { RequestFailed } from '../../calling/askForAll.js'

/** A tensor of an answer, as numbers. */
export interface Tensor {
  shape: readonly number[]
  data: Float64Array
}

const readers: Readonly<Record<string, { bytes: number; read(view: DataView, at: number): number }>> = {
  FP32: { bytes: 4, read: (view, at) => view.getFloat32(at, true) },
  FP64: { bytes: 8, read: (view, at) => view.getFloat64(at, true) },
  FP16: { bytes: 2, read: (view, at) => half(view.getUint16(at, true)) },
  BOOL: { bytes: 1, read: (view, at) => view.getUint8(at) },
  UINT8: { bytes: 1, read: (view, at) => view.getUint8(at) },
  INT8: { bytes: 1, read: (view, at) => view.getInt8(at) },
  UINT16: { bytes: 2, read: (view, at) => view.getUint16(at, true) },
  INT16: { bytes: 2, read: (view, at) => view.getInt16(at, true) },
  UINT32: { bytes: 4, read: (view, at) => view.getUint32(at, true) },
  INT32: { bytes: 4, read: (view, at) => view.getInt32(at, true) },
  INT64: { bytes: 8, read: (view, at) => Number(view.getBigInt64(at, true)) },
  UINT64: { bytes: 8, read: (view, at) => Number(view.getBigUint64(at, true)) },
}

function half(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023]
  const size =
    exponent === 0
      ? fraction * 2 ** -24
      : exponent === 31
        ? fraction
          ? Number.NaN
          : Number.POSITIVE_INFINITY
        : (1 + fraction / 1024) * 2 ** (exponent - 15)
  return bits & 0x8000 ? -size : size
}

interface OutputHeader {
  name?: unknown
  datatype?: unknown
  shape?: unknown
  data?: unknown
  parameters?: { binary_data_size?: unknown }
}

/**
 * The tensors of an inference answer: JSON, or JSON followed by the tensors' bytes (binary tensor data extension; the length of the JSON is in
 * Inference-Header-Content-Length).
 * @throws RequestFailed
 */
export function readTensors(
  bytes: Uint8Array,
  jsonLength: number,
): { version: string | undefined; tensors: Map<string, Tensor> } {
  if (!(jsonLength <= bytes.length)) throw wrong('its JSON is longer than the answer')
  const json = jsonOf(bytes.subarray(0, jsonLength)) as { model_version?: unknown; outputs?: unknown } | null
  if (!Array.isArray(json?.outputs)) throw wrong('it has no outputs')
  const tensors = new Map<string, Tensor>()
  let at = jsonLength
  for (const output of json.outputs as OutputHeader[]) {
    const { name, datatype, shape } = output
    const reader = readers[String(datatype)]
    if (typeof name !== 'string' || !reader) throw wrong(`output ${String(name)} is of datatype ${String(datatype)}`)
    if (!Array.isArray(shape) || !shape.every(size => Number.isInteger(size) && size >= 0))
      throw wrong(`the shape of ${name} is no list of sizes`)
    const count = shape.reduce((product: number, size: number) => product * size, 1)
    const size = output.parameters?.binary_data_size
    let data: Float64Array
    if (typeof size === 'number') {
      if (size !== count * reader.bytes || at + size > bytes.length)
        throw wrong(`${name} has ${size} bytes, its shape asks for ${count * reader.bytes}`)
      const view = new DataView(bytes.buffer, bytes.byteOffset + at, size)
      data = new Float64Array(count)
      for (let i = 0; i < count; i++) data[i] = reader.read(view, i * reader.bytes)
      at += size
    } else {
      const list = Array.isArray(output.data) ? output.data.flat(Number.POSITIVE_INFINITY) : []
      if (list.length !== count || !list.every(value => typeof value === 'number' || typeof value === 'boolean'))
        throw wrong(`${name} has ${list.length} numbers, its shape asks for ${count}`)
      data = Float64Array.from(list.map(Number))
    }
    for (let i = 0; i < count; i++) if (!Number.isFinite(data[i])) throw wrong(`${name} holds what is no number`)
    tensors.set(name, { shape: shape as number[], data })
  }
  const version = json.model_version
  return { version: version === undefined || version === null ? undefined : String(version), tensors }
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return parseJsonText(new TextDecoder().decode(bytes))
  } catch {
    throw new RequestFailed('the answer is no JSON', 0, 'wrong')
  }
}

export function wrong(what: string): RequestFailed {
  return new RequestFailed(`the answer is not what was agreed: ${what}`, 0, 'wrong')
}
