import type { Key } from './text.en.js'

/** An entry of the configuration: a source, a destination, a provider, a route, a rule of notifications. */
export type Entry = { name: string } & Record<string, unknown>

/** One value of an entry, as a form asks for it. */
export interface FieldOf {
  /** Where it stands: `stow.url`, `urgent.0.above`. */
  path: string
  label: Key
  hint?: Key
  /** An example of it, which is the same in every language. */
  example?: string
  /** `list`: separated by commas; `codes`: the same, in capital letters; `some`: of `options`. Text, if it is not said. */
  as?: 'text' | 'url' | 'number' | 'list' | 'codes' | 'check' | 'one' | 'some'
  options?: readonly (readonly [value: string, text: string])[]
  required?: boolean
  /** Few need it: it is folded away. */
  more?: boolean
  /** What a new entry begins with. */
  initial?: string
  /** What holds where nothing is said. */
  default?: string
  /** Nothing chosen is not the same as nothing said. */
  keepEmpty?: boolean
  /** If it is empty, all of this goes. */
  without?: string
  /** It is asked for when this is true of what has been filled in. */
  when?(filled: Record<string, string>): boolean
}

/** One of several ways in which an entry can be: by DICOMweb, into a folder. */
export interface Shape {
  key: string
  label: Key | { text: string }
  /** What stands in entries of this shape, and in none of the others but those that have it too. */
  roots: readonly string[]
  constant?: Record<string, unknown>
  fields: readonly FieldOf[]
}

/** What a form for entries of a list asks for. Everything that it does not ask for stays as it is. */
export interface EntryKind {
  fields: readonly FieldOf[]
  /** The first one that fits an entry is its shape. */
  shapes: readonly Shape[]
}

type Tree = Record<string, unknown> | unknown[]

function valueAt(entry: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((node, key) => (node as Record<string, unknown> | undefined)?.[key], entry)
}

/** Puts a value in its place; `undefined` takes it away, and what is empty without it. */
function put(tree: Tree, [key = '', ...rest]: readonly string[], value: unknown): void {
  const node = tree as Record<string, unknown>
  if (rest.length > 0) {
    if (node[key] === undefined && value === undefined) return
    node[key] ??= /^\d+$/.test(rest[0]!) ? [] : {}
    put(node[key] as Tree, rest, value)
    if (value !== undefined || Object.keys(node[key] as Tree).length > 0) return
  } else if (value !== undefined) {
    node[key] = value
    return
  }
  if (Array.isArray(tree)) tree.splice(Number(key), 1)
  else delete node[key]
}

/** @returns undefined if the entry is in a way that forms do not know */
export function shapeOf(kind: EntryKind, entry: Entry): Shape | undefined {
  return kind.shapes.find(
    ({ roots, constant }) =>
      roots.every(root => entry[root] !== undefined) &&
      Object.entries(constant ?? {}).every(([key, value]) => entry[key] === value),
  )
}

/** What a form shows of an entry, by path. */
export function filledFrom(fields: readonly FieldOf[], entry: Entry | undefined): Record<string, string> {
  const textOf = (value: unknown) =>
    value === undefined || value === null || value === false ? '' : Array.isArray(value) ? value.join(', ') : `${value}`
  return Object.fromEntries(
    fields.map(field => {
      const value = valueAt(entry, field.path)
      const text = entry && value !== undefined ? textOf(value) : entry ? undefined : field.initial
      return [field.path, text ?? field.default ?? '']
    }),
  )
}

export const listOf = (text: string): string[] =>
  text
    .split(',')
    .map(part => part.trim())
    .filter(Boolean)

function parsed({ as, keepEmpty }: FieldOf, text: string): unknown {
  if (text.trim() === '') return keepEmpty ? [] : undefined
  switch (as) {
    case 'number':
      return Number(text)
    case 'check':
      return true
    case 'list':
    case 'some':
      return listOf(text)
    case 'codes':
      return listOf(text.toUpperCase())
    default:
      return text.trim()
  }
}

/** The entry with what was filled in. */
export function entryFrom(
  kind: EntryKind,
  shape: Shape,
  filled: Record<string, string>,
  before: Entry = { name: '' },
): Entry {
  const entry = structuredClone(before)
  for (const root of kind.shapes.flatMap(({ roots }) => roots)) if (!shape.roots.includes(root)) delete entry[root]
  Object.assign(entry, shape.constant)
  const gone: string[] = []
  for (const field of [...kind.fields, ...shape.fields]) {
    const text = filled[field.path] ?? ''
    const isAsked = field.when?.(filled) ?? true
    const isUnsaid = text === field.default && valueAt(before, field.path) === undefined
    const value = isAsked && !isUnsaid ? parsed(field, text) : undefined
    put(entry, field.path.split('.'), value)
    if (field.without && value === undefined) gone.push(field.without)
  }
  for (const path of gone) put(entry, path.split('.'), undefined)
  return entry
}
