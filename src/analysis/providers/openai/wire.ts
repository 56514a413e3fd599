import { z } from 'zod'

/** The part of a chat completion that is read. */
export const completion = z.object({
  model: z.string().min(1).optional(),
  choices: z
    .array(
      z.object({
        finish_reason: z.string().nullish(),
        message: z.object({ content: z.string().nullish(), refusal: z.string().nullish() }),
      }),
    )
    .min(1),
  usage: z.object({ total_tokens: z.number().min(0) }).nullish(),
})

/** What the model answers; results are refused one by one. */
export const modelAnswer = z.object({ images: z.array(z.unknown()) })

export const imageAnswer = z.object({
  index: z.number().int().min(0),
  findings: z.array(
    z.object({
      label: z.string().min(1).max(64),
      lesion: z.string().max(64).nullish(),
      confidence: z.number().min(0).max(1),
      box: z.tuple([z.number(), z.number(), z.number(), z.number()]).nullish(),
      laterality: z.enum(['left', 'right']).nullish(),
    }),
  ),
})

/** The same with its results in full, for docs/providers/openai.schema.json. */
export const documentedAnswers = { content: modelAnswer.extend({ images: z.array(imageAnswer) }) }
