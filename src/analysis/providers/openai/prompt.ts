import { createHash } from 'node:crypto'

/** Part of every report's algorithm parameters: changes of the prompt or of the schema are changes of the algorithm. */
export function promptVersion(prompt: string, schema: object): string {
  return createHash('sha256').update(prompt).update(JSON.stringify(schema)).digest('hex').slice(0, 8)
}

/** What the model is told, whatever it is asked to look for. */
export function systemPrompt(labels: readonly string[], instructions: string | undefined): string {
  return [
    'You look at medical images and report abnormal findings as JSON. Your answer is preliminary decision support that a radiologist verifies.',
    'Answer for every image that you are given, by its index; an image without findings has an empty list.',
    `Report only what is visible, and only with these labels: ${labels.join(', ')}.`,
    'A box is left, top, right, bottom in pixels of the picture that you were given, whose size is stated; null if the finding has no place.',
    'Confidence is your estimate, from 0 to 1, that the finding is there. Laterality is the side of the patient, null if there is none.',
    'Findings on several images that are the same lesion have the same lesion name, else null.',
    ...(instructions ? [instructions] : []),
  ].join('\n')
}

/** JSON Schema of the answer, for structured output: strict mode knows no optional fields, so what may be absent may be null. */
export function answerSchema(labels: readonly string[]) {
  const object = (properties: Record<string, object>) => ({
    type: 'object',
    properties,
    required: Object.keys(properties),
    additionalProperties: false,
  })
  return object({
    images: {
      type: 'array',
      items: object({
        index: { type: 'integer' },
        findings: {
          type: 'array',
          items: object({
            label: { type: 'string', enum: labels },
            lesion: { type: ['string', 'null'] },
            confidence: { type: 'number' },
            box: { anyOf: [{ type: 'array', items: { type: 'number' } }, { type: 'null' }] },
            laterality: { anyOf: [{ type: 'string', enum: ['left', 'right'] }, { type: 'null' }] },
          }),
        },
      }),
    },
  })
}
