/**
 * Capital letters, digits and some marks, five pixels wide and seven high, for writing on pictures. Each glyph is seven rows of two hexadecimal
 * digits, the leftmost pixel in bit 4. Drawn for Radbridge.
 */
const glyphs: Readonly<Record<string, string>> = {
  A: '0e11111f111111',
  B: '1e11111e11111e',
  C: '0e11101010110e',
  D: '1e11111111111e',
  E: '1f10101e10101f',
  F: '1f10101e101010',
  G: '0e11101713110f',
  H: '1111111f111111',
  I: '0e04040404040e',
  J: '0702020202120c',
  K: '11121418141211',
  L: '1010101010101f',
  M: '111b1515111111',
  N: '11191915131311',
  O: '0e11111111110e',
  P: '1e11111e101010',
  Q: '0e11111115120d',
  R: '1e11111e141211',
  S: '0f10100e01011e',
  T: '1f040404040404',
  U: '1111111111110e',
  V: '11111111110a04',
  W: '11111115151b11',
  X: '11110a040a1111',
  Y: '11110a04040404',
  Z: '1f01020408101f',
  0: '0e11131519110e',
  1: '040c040404040e',
  2: '0e11010204081f',
  3: '1f02040201110e',
  4: '02060a121f0202',
  5: '1f101e0101110e',
  6: '0608101e11110e',
  7: '1f010204080808',
  8: '0e11110e11110e',
  9: '0e11110f01020c',
  '.': '00000000000c0c',
  ',': '000000000c0408',
  ':': '000c0c000c0c00',
  '-': '0000001f000000',
  '+': '0004041f040400',
  '/': '01010204081010',
  '(': '02040808080402',
  ')': '08040202020408',
  '%': '18190204081303',
  '=': '00001f001f0000',
  '<': '02040810080402',
  '>': '08040201020408',
  '?': '0e110102040004',
}

export const glyphWidth = 6
export const glyphHeight = 9

/**
 * Calls `set` for each pixel of a line of text, from its upper left corner.
 * @param line letters become capitals; accents are dropped, and what has no glyph becomes a question mark
 */
export function drawText(line: string, set: (x: number, y: number) => void): void {
  const plain = line.normalize('NFD').replace(/\p{M}/gu, '').replaceAll('²', '2').replaceAll('³', '3').toUpperCase()
  for (const [i, character] of [...plain].entries()) {
    if (character === ' ') continue
    const rows = glyphs[character] ?? glyphs['?']!
    for (let y = 0; y < 7; y++) {
      const bits = Number.parseInt(rows.slice(y * 2, y * 2 + 2), 16)
      for (let x = 0; x < 5; x++) if (bits & (16 >> x)) set(i * glyphWidth + x, y)
    }
  }
}
