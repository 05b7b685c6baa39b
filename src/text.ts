/** Text that comes from outside. */
import { z } from 'zod'

/** Postgres can store it and people can read it: no control characters, no lone surrogates. */
export const isPlain = (text: string): boolean => text.isWellFormed() && !/[^\P{Cc}\t\n\r]/u.test(text)

/** Text without blanks around it, as `isPlain` says. */
export const text = (options: { min?: number; max: number }) =>
  z
    .string()
    .trim()
    .min(options.min ?? 1)
    .max(options.max)
    .refine(isPlain, 'must be well-formed Unicode without control characters')
