import { createContext, useContext } from 'react'
import { de } from './text.de'
import { en, type Key } from './text.en'

export type Language = 'en' | 'de'
const texts: Record<Language, Record<Key, string>> = { en, de }

export interface Words {
  language: Language
  /** A text, with `{name}` put in. */
  t(key: Key, values?: Record<string, string | number>): string
  /** A time in the reader's own zone. */
  time(value: string | Date | null | undefined): string
  /** A number as it is written in the language. */
  number(value: number, digits?: number): string
  /** Seconds, in a unit that fits. */
  duration(seconds: number | null | undefined): string
  bytes(count: number): string
}

export function wordsOf(language: Language): Words {
  const locale = language === 'de' ? 'de-DE' : 'en-GB'
  const times = new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'medium' })
  const number = (value: number, digits = 0) =>
    value.toLocaleString(locale, { maximumFractionDigits: digits, minimumFractionDigits: 0 })
  return {
    language,
    t: (key, values = {}) =>
      texts[language][key].replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? '')),
    time: value => (value ? times.format(new Date(value)) : '–'),
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

export const WordsContext = createContext<Words>(wordsOf('en'))
export const useWords = (): Words => useContext(WordsContext)

export function languageOf(setting: string | null, browser: readonly string[]): Language {
  if (setting === 'en' || setting === 'de') return setting
  return browser.find(tag => /^(en|de)\b/.test(tag))?.startsWith('de') ? 'de' : 'en'
}
