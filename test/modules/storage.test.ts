/** Storage whose answers are lost: what it has done is not taken for undone. */
import { createHash } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeSamplePhoto } from '../../models/photo.ts'
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
    const location = { workspaceId: 'w', assetId: 'a', name: 'x' }
    const stored = putObject(env, location, chunks(), 100 << 20)
    if (isDone) expect(await stored).toMatchObject({ size: file.length, kind: 'image' })
    else await expect(stored).rejects.toMatchObject({ code: 'unavailable' })
    expect(aborted).toBe(!isDone)
    server.stop()
  },
)
