import { RequestFailed } from '../../calling/askForAll.js'
import type { ImageResult } from '../../calling/found.js'
import type { Origin } from '../../calling/prepareImage.js'
import { mergePatches } from './mergePatches.js'
import { findingsOfOutputs, type OutputRule } from './outputs.js'
import { readTensors } from './tensors.js'

interface Size {
  rows: number
  columns: number
}

/** An answer, and what it is about: plain data, so that it can be read in another thread. */
export interface AnswerToRead {
  bytes: Uint8Array
  /** Of its beginning; tensors follow. */
  jsonLength: number
  rules: readonly OutputRule[]
  input: Size
  /** The images that were sent, with their patches if they were cut. */
  images: readonly (Size & { patches: readonly Origin[] | undefined })[]
}

/** Errors lose their class on the way between threads: what is wrong with the answer is told as a value. */
export type ReadAnswer = { version: string | undefined; results: ImageResult[] } | { wrong: string }

export function readAnswer({ bytes, jsonLength, rules, input, images }: AnswerToRead): ReadAnswer {
  try {
    const { version, tensors } = readTensors(bytes, jsonLength)
    const batch = images.reduce((sum, { patches }) => sum + (patches?.length ?? 1), 0)
    let n = 0
    const results = images.map(image => {
      const { patches } = image
      if (!patches) return findingsOfOutputs(rules, tensors, n++, batch, input, image)
      const parts = patches.map(origin => ({
        origin,
        result: findingsOfOutputs(rules, tensors, n++, batch, input, input),
      }))
      return mergePatches(parts, image)
    })
    return { version, results }
  } catch (error) {
    if (error instanceof RequestFailed) return { wrong: error.message }
    throw error
  }
}
