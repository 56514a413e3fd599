/**
 * The accurate integer inverse DCT of the Independent JPEG Group ("islow", after Loeffler, Ligtenberg and Moschytz, Practical fast 1-D DCT
 * algorithms with 11 multiplications, ICASSP 1989), with the word lengths that their library uses for 8 and 12 bits: results are theirs
 * bit for bit.
 */
const constBits = 13
const fix = (value: number) => Math.round(value * (1 << constBits))
const f0298 = fix(0.298631336)
const f0390 = fix(0.390180644)
const f0541 = fix(0.5411961)
const f0765 = fix(0.765366865)
const f0899 = fix(0.899976223)
const f1175 = fix(1.175875602)
const f1501 = fix(1.50132111)
const f1847 = fix(1.847759065)
const f1961 = fix(1.96157056)
const f2053 = fix(2.053119869)
const f2562 = fix(2.562915447)
const f3072 = fix(3.072711026)

const workspace = new Int32Array(64)

/**
 * @param coefficients one dequantized block, row-major; columns are transformed first
 * @param samples receives 8 × 8 samples from `at` on, clamped to the precision
 * @param precision 8 or 12
 */
export function inverseDct(
  coefficients: Int32Array,
  samples: Uint16Array,
  at: number,
  stride: number,
  precision: number,
): void {
  const pass1Bits = precision === 8 ? 2 : 1
  const centre = 1 << (precision - 1)
  const max = (1 << precision) - 1
  for (let x = 0; x < 8; x++) transform(coefficients, x, 8, workspace, x, 8, constBits - pass1Bits)
  for (let y = 0; y < 8; y++) {
    transform(workspace, y * 8, 1, workspace, y * 8, 1, constBits + pass1Bits + 3)
    for (let x = 0; x < 8; x++) {
      const value = workspace[y * 8 + x]! + centre
      samples[at + y * stride + x] = value < 0 ? 0 : Math.min(value, max)
    }
  }
}

/** One dimension: eight values from `from`, `step` apart; results are rounded off by `shift` bits. */
function transform(
  input: Int32Array,
  from: number,
  step: number,
  output: Int32Array,
  to: number,
  outStep: number,
  shift: number,
): void {
  const [i0, i1, i2, i3] = [input[from]!, input[from + step]!, input[from + 2 * step]!, input[from + 3 * step]!]
  const [i4, i5, i6, i7] = [
    input[from + 4 * step]!,
    input[from + 5 * step]!,
    input[from + 6 * step]!,
    input[from + 7 * step]!,
  ]

  // Even part
  const e1 = Math.imul(i2 + i6, f0541)
  const e2 = e1 - Math.imul(i6, f1847)
  const e3 = e1 + Math.imul(i2, f0765)
  const s0 = (i0 + i4) << constBits
  const s1 = (i0 - i4) << constBits
  const t10 = s0 + e3
  const t13 = s0 - e3
  const t11 = s1 + e2
  const t12 = s1 - e2

  // Odd part
  const z5 = Math.imul(i7 + i3 + i5 + i1, f1175)
  const z1 = -Math.imul(i7 + i1, f0899)
  const z2 = -Math.imul(i5 + i3, f2562)
  const z3 = z5 - Math.imul(i7 + i3, f1961)
  const z4 = z5 - Math.imul(i5 + i1, f0390)
  const o0 = Math.imul(i7, f0298) + z1 + z3
  const o1 = Math.imul(i5, f2053) + z2 + z4
  const o2 = Math.imul(i3, f3072) + z2 + z3
  const o3 = Math.imul(i1, f1501) + z1 + z4

  const round = 1 << (shift - 1)
  output[to] = (t10 + o3 + round) >> shift
  output[to + 7 * outStep] = (t10 - o3 + round) >> shift
  output[to + outStep] = (t11 + o2 + round) >> shift
  output[to + 6 * outStep] = (t11 - o2 + round) >> shift
  output[to + 2 * outStep] = (t12 + o1 + round) >> shift
  output[to + 5 * outStep] = (t12 - o1 + round) >> shift
  output[to + 3 * outStep] = (t13 + o0 + round) >> shift
  output[to + 4 * outStep] = (t13 - o0 + round) >> shift
}
