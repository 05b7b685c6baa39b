/** Names of files: one rule, wherever a client says one. */
import { invalidField } from '../errors.ts'
import { nameText } from '../text.ts'

/** Of a path its last segment, which is none of those that stand for folders. */
export const FileName = nameText({ max: 255 })
  .transform((path) => path.slice(1 + Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\'))).trim())
  .refine((last) => !['', '.', '..'].includes(last), 'must end in a name')

/** Without its ending. */
export const stemOf = (name: string): string => name.replace(/\.\w{1,5}$/, '')

/** Of a form's file, or of one without a name. @throws {AppError} validation_failed */
export const readFileName = (filename: string): string => {
  if (filename.trim() === '') return 'untitled'
  const { data, error } = FileName.safeParse(filename)
  if (data === undefined) throw invalidField('/file', `has a name that ${error?.issues[0]?.message}`)
  return data
}
