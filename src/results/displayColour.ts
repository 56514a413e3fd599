/** sRGB colours that are told apart on grey images. */
const colours: readonly (readonly [number, number, number])[] = [
  [255, 176, 0],
  [0, 200, 255],
  [255, 80, 160],
  [120, 220, 60],
  [170, 120, 255],
  [255, 120, 60],
]

/**
 * Recommended Display CIELab Value (0062,000D) of the n-th segment, from 1: L, a and b as unsigned 16-bit integers.
 * @see PS3.3 C.10.7.1.1; the conversion from sRGB is that of IEC 61966-2-1 to CIE 1976 L*a*b* with the white point D50 of ICC profiles
 */
export function displayColour(number: number): [number, number, number] {
  const [red, green, blue] = colours[(number - 1) % colours.length]!.map(linear) as [number, number, number]
  // Bradford-adapted to D50
  const x = 0.4360747 * red + 0.3850649 * green + 0.1430804 * blue
  const y = 0.2225045 * red + 0.7168786 * green + 0.0606169 * blue
  const z = 0.0139322 * red + 0.0971045 * green + 0.7141733 * blue
  const [fx, fy, fz] = [f(x / 0.9642), f(y), f(z / 0.8249)]
  const [l, a, b] = [116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)]
  return [Math.round((l * 65535) / 100), Math.round(((a + 128) * 65535) / 255), Math.round(((b + 128) * 65535) / 255)]
}

function linear(value: number): number {
  const v = value / 255
  return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
}

function f(t: number): number {
  return t > (6 / 29) ** 3 ? Math.cbrt(t) : t / (3 * (6 / 29) ** 2) + 4 / 29
}
