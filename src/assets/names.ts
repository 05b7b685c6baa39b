/** Names of files: one rule, wherever a client says one. */
import { invalidField } from '../errors.ts'
import { text } from '../text.ts'

/** On one line; of a path its last segment. */
export const FileName = text({ max: 255 })
  .regex(/^[^\t\n\r]*$/, 'must have no line breaks')
  .regex(/[^/\\]$/, 'must end in a name')
  .transform((path) => path.slice(1 + Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\'))).trim())

/** Of a form's file, or of one without a name. @throws {AppError} validation_failed */
export const readFileName = (filename: string): string => {
  if (filename.trim() === '') return 'untitled'
  const { data, error } = FileName.safeParse(filename)
  if (data === undefined) throw invalidField('/file', `has a name that ${error?.issues[0]?.message}`)
  return data
}
