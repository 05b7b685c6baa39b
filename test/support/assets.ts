/** Assets in tests: downloaded, and looked for in storage itself. */
import { expect } from 'vitest'
import { s3Of } from '../../dev/storage.ts'
import type { Client } from './client.ts'
import { asOwner } from './database.ts'
import { newTenant } from './tenants.ts'
import { secrets } from './tokens.ts'

/** The presigned URL. */
export const download = async (client: Client, id: string, query = '') => {
  const answer = await client.get(`/assets/${id}/download${query}`)
  expect(answer.status).toBe(302)
  return String(answer.headers.get('location'))
}

const s3 = s3Of(secrets)

/** A workspace's objects, as storage itself lists them. */
const listObjects = async (workspaceId: string): Promise<string> => {
  const { client } = await newTenant()
  const { body } = await client.upload('any.txt', 'any')
  const [bucket] = (await download(client, body.id)).split('/workspaces/')
  const list = await s3.fetch(`${bucket}?list-type=2&prefix=workspaces%2F${workspaceId}%2F`)
  if (!list.ok) throw new Error(await list.text())
  return list.text()
}

/** The keys of a workspace's objects. */
export const objectsOf = async (workspaceId: string): Promise<string[]> =>
  [...(await listObjects(workspaceId)).matchAll(/<Key>([^<]+)/g)].map(([, key]) => String(key))

/** Bytes of them. */
export const storedIn = async (workspaceId: string): Promise<number> =>
  [...(await listObjects(workspaceId)).matchAll(/<Size>(\d+)/g)].reduce(
    (sum, [, size]) => sum + Number(size),
    0,
  )

/** Neither row nor object. */
export const expectNothing = async (client: Client) => {
  expect((await client.get('/assets')).body.data).toEqual([])
  expect(await objectsOf(String(client.workspaceId))).toEqual([])
}

/** What the outbox of a workspace holds. */
export const owed = (id: string) => asOwner('select kind from outbox where workspace_id = $1', [id])
