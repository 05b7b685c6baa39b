/** Uploads straight to storage while storage answers 500, hangs, cuts and lies, and while the database is away. */
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Rig, startRig } from '../../dev/rig/rig.ts'
import { asOwner, makeTenants, type Tenant } from '../../dev/rig/trials/tenants.ts'
import { s3Of } from '../../dev/storage.ts'
import { makeSamplePhoto } from '../../models/photo.ts'
import { send } from '../support/send.ts'
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

const call = <T>(method: string, path: string, body?: unknown) =>
  send<T>(method, `${rig.url}/api/v1${path}`, body, { authorization: `Bearer ${tenant.token}` })
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
  await asOwner(
    rig,
    `update uploads set ends_at = now() - interval '3 hours', completed_at = completed_at - interval '3 hours'`,
  )
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
  // Soon: its lease was renewed for each range only, and the message that comes again waits for its end.
  await waitFor('it is ready', async () => (await get(id)).body.status === 'ready', 120_000)
  await expectNothing()
}, 180_000)

test('an object that storage does not show is not called another one, and a check that always fails ends', async () => {
  const bytes = Buffer.concat([photo, randomBytes(100_000_000 - photo.length)])
  const id = await sent(bytes)
  await asOwner(rig, `update uploads set lease_expires_at = now() + interval '1 hour' where id = $1`, [id])
  expect((await complete(id)).status).toBe(200)
  const { S3_ENDPOINT } = rig.stack.settings
  const s3 = s3Of(rig.stack.settings)
  const object = `${S3_ENDPOINT}/workspaces/${tenant.workspaceId}/assets/${id}`
  expect((await s3.fetch(object, { method: 'DELETE' })).ok).toBe(true)
  await asOwner(rig, `update uploads set lease_expires_at = null where id = $1`, [id])
  await asOwner(rig, `update outbox set available_at = now() where subject_id = $1`, [id])
  await rig.scheduled()
  await waitFor('the check fails', async () =>
    rig.broker.messages.some(({ body, deliveries }) => {
      // `as`: what the outbox sends.
      const { kind, subjectId } = body as { kind?: string; subjectId?: string }
      return kind === 'upload.check' && subjectId === id && deliveries.some(({ end }) => end === 'retried')
    }),
  )
  expect((await get(id)).body.status).toBe('pending')
  await expectNothing()
  expect((await complete(id)).body.code).toBe('not_found')
}, 90_000)

test('parts whose start was committed and answered by nobody are not taken back', async () => {
  const bytes = Buffer.concat([photo, randomBytes(100_000_000 - photo.length)])
  const { id } = (await begin(bytes)).body.asset
  await asOwner(rig, `update uploads set upload_id = null where id = $1`, [id])
  const lost = rig.links.database.fault({
    kind: 'reset',
    of: 'answer',
    match: 'update \\"uploads\\" set',
    times: 1,
  })
  const resume = () => call<{ upload: { parts: Part[] } }>('GET', `/assets/${id}/upload`)
  expect((await resume()).status).toBe(503)
  expect(lost.hits).toBe(1)
  const { status, body } = await resume()
  expect(status).toBe(200)
  const [part] = body.upload.parts
  if (!part) throw new Error('no part')
  expect((await put(part, bytes.subarray(0, part.size))).status).toBe(200)
  await call('DELETE', `/assets/${id}`)
  await expectNothing()
}, 60_000)

const uploadsUnderWay = async () =>
  (await asOwner(rig, `select from outbox where kind = 'object.delete'`)).length
/** Uploads that send 300 KB of more, and then a byte each `pause` if one is given: two processes' places are held by twenty. */
const holdPlaces = async (pause?: number) => {
  const before = await uploadsUnderWay()
  const holders = Array.from({ length: 20 }, () => {
    const socket = connect(Number(new URL(rig.url).port), '127.0.0.1')
    const head = [
      'POST /api/v1/assets/upload?name=a.txt HTTP/1.1',
      'host: 127.0.0.1',
      `authorization: Bearer ${tenant.token}`,
      `x-workspace-id: ${tenant.workspaceId}`,
      'content-type: text/plain',
      'content-length: 1000000',
      'connection: close',
    ]
    socket.write(`${head.join('\r\n')}\r\n\r\n${'a'.repeat(300_000)}`)
    const timer = pause && setInterval(() => socket.write('a'), pause)
    const answered = new Promise<string>((resolve) => {
      let answer = ''
      socket.on('data', (data) => {
        answer += data
      })
      socket.on('error', () => undefined).on('close', () => resolve(answer))
    })
    return {
      answered,
      stop() {
        clearInterval(timer)
        socket.destroy()
      },
    }
  })
  await waitFor('all are let in', async () => (await uploadsUnderWay()) === before + 20)
  return holders
}
const upload = async (size: number) => {
  const answer = await fetch(`${rig.url}/api/v1/assets/upload?name=b.txt`, {
    method: 'POST',
    headers: { authorization: `Bearer ${tenant.token}`, 'x-workspace-id': tenant.workspaceId },
    body: 'b'.repeat(size),
  })
  return { status: answer.status, retryAfter: answer.headers.get('retry-after') }
}

test('uploads that fall silent end soon, and others go on', async () => {
  const silent = await holdPlaces()
  expect((await upload(1_000_000)).status).toBe(201)
  for (const { answered } of silent) {
    expect(await answered).toMatch(/^HTTP\/1.1 400.*"code":"malformed_multipart"/s)
  }
}, 60_000)

test('of those that are slow the slowest give way to whoever waits, and are told when to come again', async () => {
  const slow = await holdPlaces(5000)
  try {
    // What tells its size comes behind 300 KB of comments: as much as a part is read of it.
    const comment = Buffer.concat([Buffer.from([0xff, 0xfe, 0xea, 0x60]), Buffer.alloc(59_998, 'a')])
    const hidden = Buffer.concat([photo.subarray(0, 2), ...Array(5).fill(comment), photo.subarray(2)])
    const id = await sent(hidden)
    const started = Date.now()
    const [uploaded, completed] = await Promise.all([upload(1_000_000), complete(id)])
    expect(uploaded).toEqual({ status: 201, retryAfter: null })
    expect(completed).toMatchObject({ status: 200, body: { status: 'ready' } })
    expect(Date.now() - started).toBeLessThan(40_000)
    const answer = await Promise.any(slow.map(({ answered }) => answered))
    expect(answer).toMatch(/^HTTP\/1.1 503/)
    expect(answer).toMatch(/^retry-after: 10\r$/im)
  } finally {
    for (const { stop } of slow) stop()
  }
}, 120_000)

test('large files that are read slowly hold up no event of the bucket', async () => {
  const ids: string[] = []
  for (let i = 0; i < 20; i++) ids.push(await sent(photo))
  rig.links.storage.fault({ kind: 'hang', of: 'answer', match: 'HEAD /', times: 20 })
  for (const subjectId of ids) {
    rig.broker.send('uploads', { kind: 'upload.check', workspaceId: tenant.workspaceId, subjectId })
  }
  await waitFor('all consumers hang', async () => rig.broker.counts().uploads?.inFlight === 20)
  const id = await sent(photo)
  const started = Date.now()
  rig.broker.send('arrivals', {
    account: 'a',
    action: 'PutObject',
    bucket: 'merchant-assets',
    object: { key: `workspaces/${tenant.workspaceId}/assets/${id}`, size: photo.length, eTag: 'x' },
    eventTime: new Date().toISOString(),
  })
  await waitFor('it is ready', async () => (await get(id)).body.status === 'ready')
  expect(Date.now() - started).toBeLessThan(8000)
  expect(rig.broker.counts().uploads?.inFlight).toBe(20)
}, 60_000)
