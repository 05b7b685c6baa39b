/** What a file's way through the Worker costs, beside a presigned PUT of the same bytes to the same storage. */
import { randomBytes } from 'node:crypto'
import { makeSamplePhoto } from '../../../models/photo.ts'
import { s3Of } from '../../storage.ts'
import type { Build } from './build.ts'

/** Milliseconds of an upload of so many megabytes, through the Worker and direct. */
export const timeUploads = async ({ rig, tenants, request }: Build, megabytes: number) => {
  const [tenant] = tenants
  if (!tenant) throw new Error('no tenant')
  const photo = await makeSamplePhoto()
  const bytes = Uint8Array.from(Buffer.concat([photo, randomBytes(megabytes * 1e6 - photo.length)]))
  const { S3_ENDPOINT } = rig.stack.settings
  const client = s3Of(rig.stack.settings)
  const direct = async () => {
    const url = `${S3_ENDPOINT}/trial/${crypto.randomUUID()}?X-Amz-Expires=300`
    const { url: presigned } = await client.sign(url, { method: 'PUT', aws: { signQuery: true } })
    const { ok, status } = await fetch(presigned, { method: 'PUT', body: bytes })
    if (!ok) throw new Error(`storage answered ${status}`)
  }
  const throughWorker = () => {
    const form = new FormData()
    form.set('file', new Blob([bytes], { type: 'image/jpeg' }), 'photo.jpg')
    return request(tenant, 'POST', '/assets/upload', form)
  }
  const time = async (upload: () => Promise<unknown>) => {
    const started = performance.now()
    await upload()
    return performance.now() - started
  }
  return { direct: await time(direct), worker: await time(throughWorker) }
}
