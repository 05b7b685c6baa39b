/** Looks at what somebody sent to storage, as if it had come through the Worker. */
import type { Env } from '../../env.ts'
import { AppError } from '../../errors.ts'
import type { Asset } from '../assets.ts'
import { PART_SIZE } from '../buffers.ts'
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
  if (stored !== size) throw mismatch(`It has ${stored ?? 0} bytes and not ${size}: it was deleted.`)
  for (const [i, length] of HEADS.entries()) {
    const head = await readRange(env, path, 0, Math.min(size, length))
    const inspector = createInspector()
    try {
      const description = await inspector.head(head)
      if (description.mimeType === mimeType) return { description, inspector, length: head.length }
      throw mismatch(`It is ${description.mimeType} and not ${mimeType}: it was deleted.`)
    } catch (error) {
      const isLast = i === HEADS.length - 1 || size <= length
      if (!(error instanceof AppError) || (isLast && error.code === 'upload_mismatch')) throw error
      if (isLast) throw mismatch(`${error.message} It was deleted.`, error)
    }
  }
  throw mismatch('It was deleted.')
}

/** All of it. @throws {AppError} upload_mismatch, unavailable */
export const inspectObject = async (
  env: Env,
  path: string,
  asset: Announced,
): Promise<FileDescription & Measures & { sha256: string }> => {
  const { description, inspector, length } = await inspectHead(env, path, asset)
  const measures = await measure(asset.mimeType, asset.size, (offset, count) =>
    readRange(env, path, offset, Math.min(count, asset.size - offset)),
  )
  const digest = new crypto.DigestStream('SHA-256')
  const hash = digest.getWriter()
  let read = 0
  for await (const chunk of readObject(env, path, asset.size)) {
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
