/** Direct uploads in tests. */
import { hash } from 'node:crypto'
import { expect } from 'vitest'
import { s3Of } from '../../dev/storage.ts'
import { download, expectNothing, owed } from './assets.ts'
import type { AssetBody, Client } from './client.ts'
import { control } from './control.ts'
import { asOwner } from './database.ts'
import { newTenant } from './tenants.ts'
import { secrets } from './tokens.ts'
import { waitFor } from './wait-for.ts'

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
  const send = () =>
    fetch(target.url, { method: 'PUT', headers: { ...headers, ...changes }, body: bytes as BodyInit })
  // The local storage closes connections on whoever still sends what it refuses.
  return send().catch(send)
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

/** What counts towards the quota. */
export const storedBytes = async (client: Client) =>
  (await client.get<{ storage: { used: number } }>('/usage')).body.storage.used

/** Lets the time of a workspace's uploads pass. */
export const expire = async (workspaceId: string) => {
  await asOwner(`update uploads set ends_at = now() - interval '3 hours' where workspace_id = $1`, [
    workspaceId,
  ])
  await asOwner(`update outbox set available_at = now() where workspace_id = $1`, [workspaceId])
  await control('cron')
}
/** After its time an upload has left nothing. */
export const expectNoTrace = async (client: Client) => {
  const workspaceId = String(client.workspaceId)
  // A job that is at work on the end puts it off, and may empty an object until then.
  const soon = `select from outbox where workspace_id = $1 and kind = 'upload.end' and available_at < now() + interval '30 minutes'`
  await waitFor('nothing is at work', async () => (await asOwner(soon, [workspaceId])).length === 0)
  await waitFor('nothing is owed', async () => {
    await expire(workspaceId)
    return (await owed(workspaceId)).length === 0
  })
  await expectNothing(client)
  expect(await storedBytes(client)).toBe(0)
  expect(await asOwner('select from uploads where workspace_id = $1', [workspaceId])).toEqual([])
}
