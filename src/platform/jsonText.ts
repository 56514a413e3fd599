/** PostgreSQL's text and jsonb hold neither U+0000 nor a lone surrogate; both become U+FFFD. */
const replaced = (_: string, value: unknown) =>
  typeof value === 'string' ? value.replaceAll('\0', '\ufffd').toWellFormed() : value
/** Only then JSON holds one of them. */
const mayHold = (json: string) => json.includes('\\u0000') || /\\ud[89a-f]/i.test(json)

/** JSON of what others have written, as a value of type jsonb. */
export function toJsonb(value: object): string {
  const text = JSON.stringify(value)
  return mayHold(text) ? JSON.stringify(value, replaced) : text
}

/** Parses JSON of others; all of its text can be stored. @throws SyntaxError */
export function parseJsonText(text: string): unknown {
  return mayHold(text) ? JSON.parse(text, replaced) : JSON.parse(text)
}
