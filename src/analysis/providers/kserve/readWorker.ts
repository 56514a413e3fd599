import { type AnswerToRead, type ReadAnswer, readAnswer } from './readAnswer.js'

/** Reads one answer in a thread: masks of a batch have millions of numbers. */
export default function run(answer: AnswerToRead): ReadAnswer {
  return readAnswer(answer)
}
