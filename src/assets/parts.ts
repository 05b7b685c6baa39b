/** Multipart uploads in storage: files in parts, which become an object when all are there. */

import { unavailable } from '../errors.ts'
import { presignPut } from './presign.ts'
import { type Bucket, fieldOf, PATIENCE, type Patience, request, textOf } from './storage.ts'

const targetOf = (path: string, uploadId: string, partNumber?: number) =>
  `${path}?${partNumber === undefined ? '' : `partNumber=${partNumber}&`}uploadId=${encodeURIComponent(uploadId)}`

/** @returns the id that storage gave the upload @throws {AppError} unavailable */
export const startParts = async (
  bucket: Bucket,
  path: string,
  headers: Record<string, string>,
  patience?: Patience,
): Promise<string> => {
  const answer = await textOf(
    await request(bucket, `${path}?uploads=`, { method: 'POST', headers }, patience),
  )
  const id = fieldOf(answer, 'UploadId')
  if (!id) throw unavailable(new Error('storage started no multipart upload'))
  return id
}

/** @returns the part's ETag @throws {AppError} unavailable */
export const putPart = async (
  bucket: Bucket,
  path: string,
  uploadId: string,
  partNumber: number,
  body: Uint8Array,
  patience?: Patience,
): Promise<string> => {
  const target = targetOf(path, uploadId, partNumber)
  const response = await request(bucket, target, { method: 'PUT', body }, patience)
  return response.headers.get('etag') ?? ''
}

/** A URL by which anyone may send this part, of exactly so many bytes, or send it again. */
export const presignPart = (
  bucket: Bucket,
  path: string,
  uploadId: string,
  partNumber: number,
  size: number,
) => {
  const headers = { 'content-length': String(size) }
  const query = { partNumber: String(partNumber), uploadId }
  return presignPut(bucket, path, { headers, query }).then((presigned) => ({ ...presigned, headers }))
}

/** What has arrived, by part number, of an upload of at most 1000 parts; undefined if it is over. @throws {AppError} unavailable */
export const listParts = async (
  bucket: Bucket,
  path: string,
  uploadId: string,
): Promise<Map<number, { etag: string; size: number }> | undefined> => {
  const response = await request(bucket, targetOf(path, uploadId), {
    method: 'GET',
    accepts: (_, answer) => answer.includes('<Code>NoSuchUpload<'),
  })
  if (!response.ok) return undefined
  const answer = await textOf(response)
  return new Map(
    [...answer.matchAll(/<Part>(.*?)<\/Part>/gs)].map(([, part = '']) => [
      Number(fieldOf(part, 'PartNumber')),
      { etag: fieldOf(part, 'ETag') ?? '', size: Number(fieldOf(part, 'Size')) },
    ]),
  )
}

interface OpenUpload {
  key: string
  uploadId: string
  /** Milliseconds. */
  startedAt: number
}

/** The first uploads that are neither complete nor aborted; none where storage does not tell. @throws {AppError} unavailable */
export const listUploads = async (
  bucket: Bucket,
  prefix: string,
  patience?: Patience,
): Promise<OpenUpload[]> => {
  const query = `?uploads=&prefix=${encodeURIComponent(prefix)}`
  const response = await request(
    bucket,
    query,
    { method: 'GET', accepts: (_, answer) => answer.includes('<Code>NotImplemented<') },
    patience,
  )
  const answer = response.ok ? await textOf(response) : ''
  return [...answer.matchAll(/<Upload>(.*?)<\/Upload>/gs)].map(([, upload = '']) => ({
    key: fieldOf(upload, 'Key') ?? '',
    uploadId: fieldOf(upload, 'UploadId') ?? '',
    startedAt: Date.parse(fieldOf(upload, 'Initiated') ?? ''),
  }))
}

/** Parts from the first on, whose sizes add up to `size`. @throws {AppError} unavailable */
export const completeParts = async (
  bucket: Bucket,
  path: string,
  uploadId: string,
  { etags, size }: { etags: string[]; size: number },
  patience: Patience = PATIENCE,
): Promise<void> => {
  const parts = etags.map((etag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${etag}</ETag></Part>`)
  const body = `<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`
  const target = targetOf(path, uploadId)
  const response = await request(bucket, target, { method: 'POST', body }, patience).catch(
    async (fault: unknown) => {
      // Its answer may have been lost: then the upload is over, and the object is there.
      const found = await request(bucket, path, { method: 'HEAD' }).catch(() => undefined)
      if (found?.headers.get('content-length') !== String(size)) throw fault
    },
  )
  if (!response) return
  // S3 can answer 200 and report the failure in the body, or nothing at all.
  const answer = await response.text()
  if (!answer.includes('<CompleteMultipartUploadResult')) {
    throw unavailable(new Error(`the upload was not completed: ${answer.slice(0, 200)}`))
  }
}

/** What is over counts as aborted; the bucket's lifecycle rule removes what this does not. @throws {AppError} unavailable */
export const abortParts = async (bucket: Bucket, path: string, uploadId: string): Promise<void> => {
  await request(bucket, targetOf(path, uploadId), { method: 'DELETE' })
}
