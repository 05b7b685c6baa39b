/** Direct uploads in tests. */
import { hash } from 'node:crypto'
import { s3Of } from '../../dev/storage.ts'
import { download } from './assets.ts'
import type { AssetBody, Client } from './client.ts'
import { newTenant } from './tenants.ts'
import { secrets } from './tokens.ts'

export interface Target {
  url: string
  headers: Record<string, string>
  expiresAt: string
}
export interface UploadBody {
  asset: AssetBody & { status: string }
  upload: { endsAt: string; parts: { number: number; size: number; arrived: boolean; target?: Target }[] }
  [field: string]: unknown
}

export const sha256 = (bytes: Uint8Array) => hash('sha256', bytes)

export const begin = (client: Client, announced: object) =>
  client.post<UploadBody>('/assets/uploads', announced)

export const complete = (client: Client, id: string) => client.post<AssetBody>(`/assets/${id}/complete`)

/** Sends bytes as the target says; `content-length` is that of the bytes. */
export const put = (target: Target | undefined, bytes: Uint8Array | string, changes: object = {}) => {
  if (!target) throw new Error('no target')
  const { 'content-length': _, ...headers } = target.headers
  return fetch(target.url, { method: 'PUT', headers: { ...headers, ...changes }, body: bytes as BodyInit })
}

/** Announces bytes and sends them. */
export const sendDirectly = async (
  client: Client,
  bytes: Uint8Array,
  announced: { mimeType: string; name?: string },
) => {
  const { asset, upload } = (await begin(client, { name: 'file', size: bytes.length, ...announced })).body
  let offset = 0
  for (const { size, target } of upload.parts) {
    const sent = await put(target, bytes.subarray(offset, offset + size))
    if (!sent.ok) throw new Error(await sent.text())
    offset += size
  }
  return asset.id
}

/** The same, and completes. */
export const uploadDirectly = async (...upload: Parameters<typeof sendDirectly>) => {
  const id = await sendDirectly(...upload)
  return { id, answer: await complete(upload[0], id) }
}

export const s3 = s3Of(secrets)

/** The bucket's URL. */
export const bucket = async (): Promise<string> => {
  const { client } = await newTenant()
  const { body } = await client.upload('any.txt', 'any')
  return String((await download(client, body.id)).split('/workspaces/')[0])
}
