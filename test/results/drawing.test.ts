import { afterAll, expect, test } from '@jest/globals'
import { startDrawing } from '../../src/results/drawing.js'
import { drawPicture, type Picture } from '../../src/results/keyImage.js'

const drawing = startDrawing()
afterAll(() => drawing.close())

test('a picture drawn in a thread is the one drawn here', async () => {
  const picture: Picture = {
    image: {
      rows: 32,
      columns: 48,
      samples: Uint16Array.from({ length: 32 * 48 }, (_, i) => i),
      photometric: 'MONOCHROME2',
      rescale: { slope: 1, intercept: 0 },
      window: { center: 700, width: 900 },
      inverted: false,
    },
    outlines: [
      {
        points: [
          [4, 4],
          [20, 4],
          [20, 20],
          [4, 4],
        ],
        label: 'Nodule 1',
      },
    ],
    legend: ['AI result, not verified'],
  }
  const [here, there] = [drawPicture(picture), await drawing.draw(picture)]
  expect({ rows: there.rows, columns: there.columns }).toEqual({ rows: here.rows, columns: here.columns })
  expect(Buffer.from(there.rgb).equals(Buffer.from(here.rgb))).toBe(true)
  expect(there.rgb.length).toBe(here.rows * here.columns * 3)
})
