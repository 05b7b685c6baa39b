/** The main job by the client package and by `fetch` alone, under the same faults: the table of client/README.md. */
import { expect, test, vi } from 'vitest'
import type { Link } from '../../dev/rig/link.ts'
import { makeSamplePhoto } from '../../models/photo.ts'
import { asOwner } from '../support/database.ts'
import { breakModels } from '../support/generations.ts'
import { breakable, merchantOf } from '../support/merchant.ts'
import { logIn, newTenant, type Tenant } from '../support/tenants.ts'
import { claimsOf, signToken } from '../support/tokens.ts'
import { makePictures as byClient } from './by-client.ts'
import { makePictures as byFetch } from './by-fetch.ts'

const photo = new Blob([Uint8Array.from(await makeSamplePhoto())])
vi.spyOn(console, 'log').mockImplementation(() => undefined)

/** Milliseconds after which a caller has given up. */
const PATIENCE = 15_000

/** Both, each with a tenant and a connection of its own: pictures or an error, and how many jobs and assets there are. */
const compare = async (prepare: (link: Link, tenant: Tenant) => unknown, patience = PATIENCE) => {
  const run = async (job: (url: string, tenant: Tenant, signal: AbortSignal) => Promise<string[]>) => {
    const tenant = await newTenant()
    const link = await breakable()
    await prepare(link, tenant)
    const outcome = await job(link.origin, tenant, AbortSignal.timeout(patience)).then(
      (pictures) => pictures.length,
      (error: unknown) => (error as Error).name,
    )
    const jobs = await asOwner<{ status: string }>('select status from generations where workspace_id = $1', [
      tenant.workspaceId,
    ])
    const files = `select from assets where workspace_id = $1 and source = 'upload'`
    const uploads = (await asOwner(files, [tenant.workspaceId])).length
    return { outcome, jobs: jobs.length, uploads, statuses: jobs.map(({ status }) => status) }
  }
  return Promise.all([
    run((baseUrl, { client }, signal) => byClient(merchantOf(client, { baseUrl }), photo, signal)),
    run((url, { token }, signal) => byFetch(url, String(token), photo, signal)),
  ])
}
const GOOD = { outcome: 1, jobs: 1, uploads: 1 }

test('without faults both make the picture', async () => {
  expect(await compare(() => undefined)).toMatchObject([GOOD, GOOD])
})

test.each([
  // What is there although the caller was told of an error: asked again it would be there twice.
  ['the answer of the upload is lost', 'POST /api/v1/assets/upload', { jobs: 0, uploads: 1 }],
  ['the answer of the job is lost', 'POST /api/v1/generations', { jobs: 1, uploads: 1 }],
  ['the stream breaks off', '/events', { jobs: 1, uploads: 1 }],
] as const)('%s: one picture, or a job that nobody follows', async (_, match, left) => {
  const after = match === '/events' ? 900 : 0
  const [client, plain] = await compare((link) =>
    link.fault({ kind: 'reset', of: 'answer', match, after, times: 1 }),
  )
  expect(client).toMatchObject(GOOD)
  expect(plain).toMatchObject({ outcome: 'TypeError', ...left })
})

test('the upload is cut: sent again, or an error', async () => {
  const [client, plain] = await compare((link) =>
    link.fault({
      kind: 'reset',
      of: 'request',
      match: 'POST /api/v1/assets/upload',
      after: 20_000,
      times: 1,
    }),
  )
  expect(client).toMatchObject(GOOD)
  expect(plain).toMatchObject({ outcome: 'TypeError', jobs: 0, uploads: 0 })
})

test('a proxy keeps the stream: asked by and by, or never heard of', async () => {
  const [client, plain] = await compare(
    (link) => link.fault({ kind: 'hang', of: 'answer', match: '/events' }),
    25_000,
  )
  expect(client).toMatchObject(GOOD)
  expect(plain).toMatchObject({ outcome: 'TimeoutError', statuses: ['succeeded'] })
})

test('the last look at the job is cut: asked again, or an error', async () => {
  const [client, plain] = await compare((link) => {
    link.fault({ kind: 'reset', of: 'request', match: 'GET /api/v1/generations/', times: 1 })
  })
  expect(client).toMatchObject(GOOD)
  expect(plain).toMatchObject({ outcome: 'TypeError', jobs: 1 })
})

test('the token has expired: renewed, or an error', async () => {
  const { email, client, token } = await newTenant()
  const { body } = await logIn(email)
  const expired = await signToken({ ...claimsOf(String(token)), exp: Math.floor(Date.now() / 1000) - 1 })
  const session = { ...body, access_token: expired, token_type: 'Bearer' as const, expires_in: 900 }
  const link = await breakable()
  expect(await byClient(merchantOf(client, { session, baseUrl: link.origin }), photo)).toHaveLength(1)
  // 401, or a connection that the API closes without reading the photo.
  await expect(byFetch(link.origin, expired, photo)).rejects.toThrow()
})

test('whoever waits leaves: the job is canceled and costs nothing, or is made for nobody', async () => {
  const slow = async (_: Link, { workspaceId }: Tenant) => {
    await asOwner(`update workspaces set plan = 'pro' where id = $1`, [workspaceId])
    await breakModels('On a table', { kind: 'slow', delayMs: 6000, times: 1 })
  }
  const [client, plain] = await compare(slow, 3000)
  expect(client).toMatchObject({ outcome: 'TimeoutError', statuses: ['canceled'] })
  expect(plain).toMatchObject({ outcome: 'TimeoutError' })
  expect(plain.statuses).not.toEqual(['canceled'])
})
