import { createContext, useContext } from 'react'
import { namesInGerman } from './names.de'
import { de } from './text.de'
import { en, type Key } from './text.en'

export type Language = 'en' | 'de'
const texts: Record<Language, Record<Key, string>> = { en, de }

export interface Words {
  language: Language
  /** A text, with `{name}` put in. */
  t(key: Key, values?: Record<string, string | number>): string
  /** A state or an outcome. */
  named(name: string): string
  /** A time in the reader's own zone. */
  time(value: string | Date | null | undefined): string
  /** The same without seconds, for lists. */
  shortTime(value: string): string
  /** A date of DICOM, `20261125`. */
  date(value: string | null): string
  /** A number as it is written in the language. */
  number(value: number, digits?: number): string
  /** Seconds, in a unit that fits. */
  duration(seconds: number | null | undefined): string
  bytes(count: number): string
}

export function wordsOf(language: Language): Words {
  const locale = language === 'de' ? 'de-DE' : 'en-GB'
  const times = new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'medium' })
  const shortTimes = new Intl.DateTimeFormat(locale, { dateStyle: 'short', timeStyle: 'short' })
  const dates = new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeZone: 'UTC' })
  const number = (value: number, digits = 0) =>
    value.toLocaleString(locale, { maximumFractionDigits: digits, minimumFractionDigits: 0 })
  return {
    language,
    t: (key, values = {}) =>
      texts[language][key].replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? '')),
    named: name => (language === 'de' && namesInGerman[name]) || name,
    time: value => (value ? times.format(new Date(value)) : '–'),
    shortTime: value => shortTimes.format(new Date(value)),
    date: value => {
      const [, year, month, day] = /^(\d{4})(\d\d)(\d\d)$/.exec(value ?? '') ?? []
      return year ? dates.format(Date.UTC(Number(year), Number(month) - 1, Number(day))) : (value ?? '')
    },
    number,
    duration: seconds => {
      if (seconds === null || seconds === undefined) return '–'
      if (seconds < 1) return `${number(seconds * 1000)} ms`
      if (seconds < 120) return `${number(seconds, 1)} s`
      if (seconds < 7200) return `${number(seconds / 60, 1)} min`
      return `${number(seconds / 3600, 1)} h`
    },
    bytes: count => {
      const units = ['B', 'kB', 'MB', 'GB', 'TB']
      const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, count)) / 3))
      return `${number(count / 1000 ** power, power > 0 ? 1 : 0)} ${units[power]}`
    },
  }
}

/** `Doe^Jane` as people write it. */
export const personName = (value: string | null): string =>
  (value ?? '').split('=')[0]!.split('^').filter(Boolean).join(', ')

const unitNames: Record<string, string> = { "[hnsf'U]": 'HU', mm2: 'mm²', mm3: 'mm³', cm2: 'cm²', cm3: 'cm³', '1': '' }

/** A unit of UCUM as people write it. */
export const unitName = (ucum: string): string => unitNames[ucum] ?? ucum

/** Details of an event as one line. */
export function detailText(detail: object): string {
  const textOf = (value: unknown): string => {
    if (Array.isArray(value) && value.every(part => typeof part !== 'object')) return value.join(', ')
    return typeof value === 'object' ? JSON.stringify(value) : String(value)
  }
  return Object.entries(detail)
    .map(([name, value]) => `${name}: ${textOf(value)}`)
    .join(' · ')
}

export const WordsContext = createContext<Words>(wordsOf('en'))
export const useWords = (): Words => useContext(WordsContext)

export function languageOf(setting: string | null, browser: readonly string[]): Language {
  if (setting === 'en' || setting === 'de') return setting
  return browser.find(tag => /^(en|de)\b/.test(tag))?.startsWith('de') ? 'de' : 'en'
}
