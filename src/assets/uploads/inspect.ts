/** Looks at what somebody sent to storage, as if it had come through the Worker. */
import type { Env } from '../../env.ts'
import { AppError, toAppError, unavailable } from '../../errors.ts'
import type { Asset } from '../assets.ts'
import { inPlace, PART_SIZE } from '../buffers.ts'
import { createInspector, type FileDescription } from '../inspect.ts'
import { type Measures, measure } from '../measure.ts'
import { readObject, readRange, sizeOf } from '../storage.ts'

/** Bytes that tell what a file is; as many as through the Worker for those that hide it behind something else. */
const HEADS = [256 * 1024, PART_SIZE]

const mismatch = (detail: string, cause?: unknown) => new AppError('upload_mismatch', { detail, cause })

type Announced = Pick<Asset, 'size' | 'mimeType'>

/** The size, and the type by the first bytes. @throws {AppError} upload_mismatch, unavailable */
export const inspectHead = async (env: Env, path: string, { size, mimeType }: Announced) => {
  const stored = await sizeOf(env, path)
  // It was there: a bucket that is away, or another one, says nothing of the file.
  if (stored === undefined) throw unavailable(new Error('storage has no such object'))
  if (stored !== size) throw mismatch(`It has ${stored} bytes and not ${size}: it was deleted.`)
  let found = ''
  for (const length of HEADS) {
    const seen = await inPlace(length, async () => {
      const head = await readRange(env, path, 0, Math.min(size, length))
      const inspector = createInspector()
      const description = await inspector.head(head).catch(toAppError)
      return { description, inspector, length: head.length }
    })
    const { description } = seen
    if (description instanceof AppError) {
      if (description.code !== 'unsupported_media_type') throw description
      found = description.message
    } else if (description.mimeType === mimeType) return { ...seen, description }
    else found = `It is ${description.mimeType} and not ${mimeType}.`
    if (size <= length) break
  }
  throw mismatch(`${found} It was deleted.`)
}

/** All of it; `renew` is called before each range. @throws {AppError} upload_mismatch, unavailable, what `renew` throws */
export const inspectObject = async (
  env: Env,
  path: string,
  asset: Announced,
  renew?: () => Promise<unknown>,
): Promise<FileDescription & Measures & { sha256: string }> => {
  const { description, inspector, length } = await inspectHead(env, path, asset)
  const measures = await measure(asset.mimeType, asset.size, (offset, count) =>
    readRange(env, path, offset, Math.min(count, asset.size - offset)),
  )
  const digest = new crypto.DigestStream('SHA-256')
  const hash = digest.getWriter()
  let read = 0
  for await (const chunk of readObject(env, path, asset.size, renew)) {
    await hash.write(chunk)
    try {
      inspector.rest(chunk.subarray(Math.max(0, Math.min(chunk.length, length - read))))
    } catch (error) {
      throw mismatch('It is not text to its end: it was deleted.', error)
    }
    read += chunk.length
  }
  try {
    inspector.end()
  } catch (error) {
    throw mismatch('It is not text to its end: it was deleted.', error)
  }
  await hash.close()
  return { ...description, ...measures, sha256: Buffer.from(await digest.digest).toString('hex') }
}
