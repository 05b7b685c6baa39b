/** Text that comes from outside. */

/** Postgres can store it and people can read it: no control characters, no lone surrogates. */
export const isPlain = (text: string): boolean => text.isWellFormed() && !/[^\P{Cc}\t\n\r]/u.test(text)
