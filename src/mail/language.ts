/** The language of mails, from what a browser says that its user reads. */
import { type Language, languages } from '../words.ts'

/** RFC 9110, 12.5.4: the first of ours that is wanted most; undefined if none is. */
export const languageOf = (header: string | undefined): Language | undefined =>
  (header ?? '')
    .slice(0, 400)
    .split(',')
    .map((range) => {
      const [tag = '', ...parameters] = range.trim().toLowerCase().split(';')
      const weight = parameters.map((one) => /^\s*q=([\d.]+)\s*$/.exec(one)?.[1]).find(Boolean)
      return { language: languages.find((one) => one === tag.split('-')[0]), weight: Number(weight ?? 1) }
    })
    .filter(({ language, weight }) => language !== undefined && weight > 0)
    .sort((a, b) => b.weight - a.weight)[0]?.language
