import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { describe, expect, test } from '@jest/globals'
import type { ChestCtResult } from '../../src/analysis/providers/reference/analyzeChestCt.js'
import { type PhantomNodule, type PhantomOptions, phantomDensity, phantomLungs } from '../../src/cli/phantom.js'
import { phantomVoxels } from '../fixtures/phantom.js'

const compiled = fileURLToPath(new URL('../../dist/analysis/providers/reference/analyzeChestCt.js', import.meta.url))

/** The analyser on a phantom, in a thread of its own as in the service. */
async function analyze(options: PhantomOptions, leftward: 1 | -1 = 1): Promise<ChestCtResult> {
  const hounsfield = await phantomVoxels(options)
  const volume = {
    width: options.size,
    height: options.size,
    depth: options.slices,
    spacing: [options.pixelSpacing, options.pixelSpacing, options.sliceSpacing],
    hounsfield,
    leftward,
  }
  const code = `const { parentPort, workerData } = require('node:worker_threads')
    import(${JSON.stringify(compiled)}).then(({ analyzeChestCt }) => parentPort.postMessage(analyzeChestCt(workerData)))`
  return new Promise((resolve, reject) => {
    const worker = new Worker(code, { eval: true, workerData: volume })
    worker.once('message', resolve)
    worker.once('error', reject)
  })
}

const nodules: PhantomNodule[] = [
  { center: [-85, 10, 40], diameter: 12 },
  { center: [70, -20, -30], diameter: 8 },
  { center: [90, 15, 35], diameter: 20 },
  { center: [-65, -25, -45], diameter: 5 },
]
const base: PhantomOptions = {
  size: 320,
  slices: 200,
  pixelSpacing: 1.05,
  sliceSpacing: 1.25,
  nodules,
  vessels: false,
  noise: 0,
  seed: 11,
  study: 'analyser',
}
const [a, b, c] = phantomLungs.halfAxes
const lungMillilitres = ((4 / 3) * Math.PI * a * b * c) / 1000

describe.each([
  ['plain', {}],
  ['with vessels and noise of 25 HU', { vessels: true, noise: 25 }],
  ['with other vessels and noise', { vessels: true, noise: 25, seed: 77 }],
] as [string, Partial<PhantomOptions>][])('phantom %s', (_name, options) => {
  test('finds each nodule at its place, axes within a voxel, volume within 10 % (5 mm: 25 %)', async () => {
    const phantom = { ...base, ...options }
    const result = await analyze(phantom)
    expect(result.nodules).toHaveLength(nodules.length)
    for (const truth of nodules) {
      const expected = truth.center.map(
        (mm, axis) =>
          mm / [phantom.pixelSpacing, phantom.pixelSpacing, phantom.sliceSpacing][axis]! +
          ((axis < 2 ? phantom.size : phantom.slices) - 1) / 2,
      )
      const found = result.nodules.find(n => n.center.every((v, axis) => Math.abs(v - expected[axis]!) < 1))
      expect(found).toBeDefined()
      const { longAxis, shortAxis, volume, side, meanHounsfield } = found!
      expect(Math.abs(longAxis - truth.diameter)).toBeLessThanOrEqual(phantom.pixelSpacing)
      expect(Math.abs(shortAxis - truth.diameter)).toBeLessThanOrEqual(phantom.pixelSpacing)
      const ratio = volume / ((Math.PI / 6) * truth.diameter ** 3)
      expect(Math.abs(ratio - 1)).toBeLessThanOrEqual(truth.diameter === 5 ? 0.25 : 0.1)
      expect(side).toBe(truth.center[0] > 0 ? 'left' : 'right')
      expect(meanHounsfield).toBeGreaterThan(-250)
    }
  })

  test('finds nothing where there is nothing, and measures the lungs within 3 %', async () => {
    const result = await analyze({ ...base, ...options, nodules: [] })
    expect(result.nodules).toEqual([])
    expect(result.lungs.map(lung => lung.side)).toEqual(['right', 'left'])
    for (const lung of result.lungs) {
      expect(Math.abs(lung.volume / lungMillilitres - 1)).toBeLessThanOrEqual(0.03)
      expect(Math.abs(lung.meanDensity - phantomDensity.lung)).toBeLessThan(15)
      expect(lung.lowAttenuationArea).toBeLessThan(1)
    }
  })
})

test('sides follow the orientation of the image', async () => {
  const one = [{ center: [85, 0, 0], diameter: 15 }] as PhantomNodule[]
  const small = { ...base, size: 128, slices: 60, pixelSpacing: 2.6, sliceSpacing: 4, nodules: one }
  expect((await analyze(small)).nodules[0]!.side).toBe('left')
  expect((await analyze(small, -1)).nodules[0]!.side).toBe('right')
})

test('a volume without lungs has no lungs', async () => {
  const flat = { ...base, size: 64, slices: 5, pixelSpacing: 0.3, nodules: [] }
  expect(await analyze(flat)).toEqual({ lungs: [], nodules: [] })
})
