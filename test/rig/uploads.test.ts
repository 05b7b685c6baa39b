/** Uploads straight to storage while storage answers 500, hangs, cuts and lies, and while the database is away. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Rig, startRig } from '../../dev/rig/rig.ts'
import { ask, asOwner, makeTenants, type Tenant } from '../../dev/rig/trials/tenants.ts'
import { makeSamplePhoto } from '../../models/photo.ts'
import { waitFor } from '../support/wait-for.ts'

interface Part {
  number: number
  size: number
  arrived: boolean
  target?: { url: string; headers: Record<string, string> }
}
interface Asset {
  id: string
  status: string
  code?: string
}

let rig: Rig
let tenant: Tenant
const photo = await makeSamplePhoto()

beforeAll(async () => {
  rig = await startRig({ processes: 2, cron: false })
  const [one] = await makeTenants(rig, 1)
  if (!one) throw new Error('no tenant')
  tenant = one
}, 90_000)
afterAll(() => rig?.stop(), 60_000)
beforeEach(() => {
  rig.links.storage.clearFaults()
  rig.links.database.clearFaults()
})

const call = async <T>(method: string, path: string, body?: unknown) => {
  const answer = await ask(rig.url, tenant, method, path, body === undefined ? {} : { body })
  // `as`: each caller knows what it asked for.
  return { status: answer.status, body: (answer.body ? JSON.parse(answer.body) : {}) as T }
}
const begin = (bytes: Buffer) =>
  call<{ asset: Asset; upload: { parts: Part[] } }>('POST', '/assets/uploads', {
    name: 'photo.jpg',
    mimeType: 'image/jpeg',
    size: bytes.length,
  })
const complete = (id: string) => call<Asset>('POST', `/assets/${id}/complete`)
const get = (id: string) => call<Asset>('GET', `/assets/${id}`)
const put = ({ target }: Part, bytes: Buffer) => {
  const { 'content-length': _, ...headers } = target?.headers ?? {}
  return fetch(String(target?.url), { method: 'PUT', headers, body: new Uint8Array(bytes) })
}
const sent = async (bytes: Buffer) => {
  const { body } = await begin(bytes)
  for (const part of body.upload.parts) {
    const start = (part.number - 1) * (body.upload.parts[0]?.size ?? 0)
    expect((await put(part, bytes.subarray(start, start + part.size))).status).toBe(200)
  }
  return body.asset.id
}
/** The rest of the upload's time passes. */
const expectNothing = async () => {
  await asOwner(rig, `update uploads set ends_at = now() - interval '3 hours'`)
  await waitFor('nothing is owed', async () => {
    await asOwner(rig, 'update outbox set available_at = now()')
    await rig.scheduled()
    return (await asOwner(rig, 'select from outbox')).length === 0
  })
  expect(await asOwner(rig, 'select from uploads')).toEqual([])
  expect(await asOwner(rig, `select from assets where status = 'pending'`)).toEqual([])
  expect(await asOwner(rig, 'select * from app.wrong_counters()')).toEqual([])
}

test.each([
  ['hangs', { kind: 'hang', of: 'answer', match: 'HEAD /' }],
  ['breaks off before it answers', { kind: 'reset', of: 'answer', match: 'HEAD /' }],
  ['breaks off in the file', { kind: 'reset', of: 'answer', match: 'ange: bytes=', after: 400 }],
  ['is away', undefined],
] as const)(
  'storage that %s costs an upload time, and nothing else',
  async (_, fault) => {
    const id = await sent(photo)
    if (fault) rig.links.storage.fault(fault)
    else await rig.links.storage.stop()
    try {
      const answer = await complete(id)
      expect(answer.status).toBe(503)
      expect((await get(id)).body.status).toBe('pending')
    } finally {
      rig.links.storage.clearFaults()
      await rig.links.storage.start()
    }
    expect(await complete(id)).toMatchObject({ status: 200, body: { status: 'ready' } })
  },
  60_000,
)

test('parts that storage does not start reserve nothing', async () => {
  await rig.links.storage.stop()
  try {
    expect((await begin(Buffer.alloc(100_000_000))).status).toBe(503)
  } finally {
    await rig.links.storage.start()
  }
  expect((await call<{ data: Asset[] }>('GET', '/assets?status=pending')).body.data).toEqual([])
  await expectNothing()
}, 60_000)

test('parts whose completion is answered by nobody are complete all the same, once', async () => {
  const bytes = Buffer.concat([photo, randomBytes(100_000_000 - photo.length)])
  const id = await sent(bytes)
  // The work is done, and its answer lost, in each attempt.
  const lost = rig.links.storage.fault({ kind: 'reset', of: 'answer', match: 'POST /' })
  const first = await complete(id)
  expect(lost.hits).toBeGreaterThan(0)
  rig.links.storage.clearFaults()
  expect(first.status).toBe(200)
  // It is read by a job; storage breaks off in that, too.
  const cut = rig.links.storage.fault({
    kind: 'reset',
    of: 'answer',
    match: 'ange: bytes=',
    after: 100_000,
    times: 2,
  })
  await waitFor('it is ready', async () => (await get(id)).body.status === 'ready', 50_000)
  rig.links.storage.clearFaults()
  expect(cut.hits).toBe(2)
  const [row] = await asOwner<{ n: number }>(
    rig,
    `select count(*)::int n from audit_logs where resource_id = $1 and action = 'asset.complete'`,
    [id],
  )
  expect(row).toEqual({ n: 1 })
  await expectNothing()
}, 90_000)

test('a process that dies while it reads a file leaves it to the next', async () => {
  const bytes = Buffer.concat([photo, randomBytes(100_000_000 - photo.length)])
  const id = await sent(bytes)
  rig.links.storage.fault({
    kind: 'slow',
    of: 'answer',
    match: 'ange: bytes=0-67108863',
    bytesPerSecond: 1_000_000,
  })
  expect((await complete(id)).status).toBe(200)
  await waitFor(
    'it is claimed',
    async () =>
      (await asOwner(rig, `select from uploads where lease_expires_at is not null and id = $1`, [id]))
        .length > 0,
  )
  for (const { name } of rig.api) {
    await rig.kill(name)
    await rig.start(name)
  }
  rig.links.storage.clearFaults()
  await asOwner(rig, `update uploads set lease_expires_at = now()`)
  await waitFor(
    'it is ready',
    async () => {
      await asOwner(rig, `update outbox set available_at = now() where kind = 'upload.check'`)
      await rig.scheduled()
      return (await get(id)).body.status === 'ready'
    },
    40_000,
  )
  await expectNothing()
}, 90_000)
