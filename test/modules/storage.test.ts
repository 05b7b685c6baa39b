/** Storage whose answers are lost: what it has done is not taken for undone. */
import { createHash } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeSamplePhoto } from '../../models/photo.ts'
import { presignDownload } from '../../src/assets/presign.ts'
import { putObject } from '../../src/assets/put.ts'
import type { Env } from '../../src/env.ts'
import { startAnswers } from '../support/answers.ts'

/** What workerd has, and Node does not. */
class DigestStream extends WritableStream<Uint8Array> {
  digest: Promise<ArrayBuffer>
  constructor() {
    const hash = createHash('sha256')
    const { promise, resolve } = Promise.withResolvers<ArrayBuffer>()
    super({
      write: (chunk) => void hash.update(chunk),
      close: () => resolve(new Uint8Array(hash.digest()).buffer),
    })
    this.digest = promise
  }
}
const platform = { scheduler: { wait: (ms: number) => new Promise((resolve) => setTimeout(resolve, ms)) } }

const known = Reflect.get(globalThis, 'scheduler')
beforeAll(() => {
  Object.assign(globalThis, platform)
  Object.assign(crypto, { DigestStream })
})
afterAll(() => {
  Object.assign(globalThis, { scheduler: known })
  Reflect.deleteProperty(crypto, 'DigestStream')
})

const noUpload = (response: ServerResponse) =>
  response.writeHead(404).end('<Error><Code>NoSuchUpload</Code></Error>')

test.each([true, false])(
  'a multipart upload whose completion was done (%s), and not answered',
  async (isDone) => {
    const file = Buffer.concat([await makeSamplePhoto(), Buffer.alloc(6 << 20)])
    const path = '/workspaces/w/assets/a'
    let completions = 0
    let aborted = false
    const server = await startAnswers({
      [`${path}?uploads=`]: (_, response) => void response.end('<UploadId>u</UploadId>'),
      [`${path}?partNumber=1&uploadId=u`]: (_, response) => void response.writeHead(200, { etag: '1' }).end(),
      [`${path}?partNumber=2&uploadId=u`]: (_, response) => void response.writeHead(200, { etag: '2' }).end(),
      [`${path}?uploadId=u`]: (request, response) => {
        if (request.method === 'DELETE') aborted = true
        else if (++completions === 1) return void response.destroy()
        noUpload(response)
      },
      [path]: (_, response) =>
        void response.writeHead(isDone ? 200 : 404, isDone ? { 'content-length': file.length } : {}).end(),
    })
    const env = {
      S3_ENDPOINT: server.url,
      S3_REGION: 'auto',
      S3_ACCESS_KEY_ID: 'x'.repeat(16),
      S3_SECRET_ACCESS_KEY: 'x'.repeat(16),
      // `as`: the settings that storage reads.
    } as Env
    const chunks = async function* () {
      yield file
    }
    const location = { workspaceId: 'w', id: 'a', name: 'x' }
    const stored = putObject(env, location, chunks(), 100 << 20)
    if (isDone) expect(await stored).toMatchObject({ size: file.length, kind: 'image' })
    else await expect(stored).rejects.toMatchObject({ code: 'unavailable' })
    expect(aborted).toBe(!isDone)
    server.stop()
  },
)

test.each([
  ['path style', 'https://minio.example.com/files', 'us-east-1', '/files/workspaces/w/assets/o'],
  ['virtual host', 'https://files.s3.eu-central-1.amazonaws.com', 'eu-central-1', '/workspaces/w/assets/o'],
  [
    'below a path',
    'http://127.0.0.1:9000/storage/s3/files',
    'auto',
    '/storage/s3/files/workspaces/w/assets/o',
  ],
])('a URL of a bucket in %s', async (_, endpoint, region, path) => {
  const env = {
    S3_ENDPOINT: endpoint,
    S3_REGION: region,
    S3_ACCESS_KEY_ID: 'minioadmin',
    S3_SECRET_ACCESS_KEY: 'minioadmin',
    // `as`: the settings that storage reads.
  } as Env
  const asset = {
    workspaceId: 'w',
    objectId: 'o',
    store: 'home',
    name: 'a.png',
    mimeType: 'image/png',
  } as const
  const url = new URL(await presignDownload(env, asset, { type: 'inline' }))
  expect([url.origin, url.pathname]).toEqual([new URL(endpoint).origin, path])
  expect(url.searchParams.get('X-Amz-Credential')).toMatch(
    new RegExp(`^minioadmin/\\d{8}/${region}/s3/aws4_request$`),
  )
  // No more of the operator than the signature needs.
  expect([...url.searchParams.keys()].sort()).toEqual([
    'X-Amz-Algorithm',
    'X-Amz-Credential',
    'X-Amz-Date',
    'X-Amz-Expires',
    'X-Amz-Signature',
    'X-Amz-SignedHeaders',
    'response-content-disposition',
    'response-content-type',
  ])
})
