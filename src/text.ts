/** Text that comes from outside. */
import { z } from 'zod'

/** Postgres can store it and people can read it: no control characters, no lone surrogates. */
export const isPlain = (text: string): boolean => text.isWellFormed() && !/[^\P{Cc}\t\n\r]/u.test(text)

/** Any text, as Postgres can store it. */
export const toStorable = (text: string): string => text.toWellFormed().replaceAll('\0', '\ufffd')

/** On one line, and without what turns the direction of the text around it: shown beside others, it would be read as another. */
export const isName = (text: string): boolean =>
  isPlain(text) && !/[\t\n\r\u061c\u2028-\u202e\u2066-\u2069]/.test(text)

/** Text without blanks around it, as `isPlain` says. */
export const text = (options: { min?: number; max: number }) =>
  z
    .string()
    .trim()
    .min(options.min ?? 1)
    .max(options.max)
    .refine(isPlain, 'must be well-formed Unicode without control characters')

/** What people and things are called, as `isName` says. */
export const nameText = (options: { max: number }) =>
  text(options).refine(isName, 'must be on one line, without characters that change its direction')
