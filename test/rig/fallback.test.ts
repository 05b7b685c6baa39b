/** A second storage: results that the first does not take go there, are served from there, and come home. */
import { hash, randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Rig, startRig } from '../../dev/rig/rig.ts'
import { ask, asOwner, makeTenants, type Tenant } from '../../dev/rig/trials/tenants.ts'
import { bucketUrl, fallbackUrl, s3Of } from '../../dev/storage.ts'
import { makeSamplePhoto } from '../../models/photo.ts'
import { builtIn } from '../../src/catalogue/offers.ts'
import { startListing } from '../support/listing.ts'
import { merchantAt } from '../support/merchant.ts'
import { waitFor } from '../support/wait-for.ts'
import { walksOf } from '../support/walk.ts'

let rig: Rig
let tenant: Tenant
let client: ReturnType<typeof merchantAt>
const front = await startListing(() => rig.links.storage.port)
const home = bucketUrl(front.port)
let fallback: string
let s3: ReturnType<typeof s3Of>

beforeAll(async () => {
  const [scene] = builtIn
  const atOnce = ['openai', 'gemini'].map((provider) => ({
    ...scene,
    id: `${provider}-scene`,
    offers: scene?.offers.filter((offer) => offer.provider === provider),
  }))
  const settings = { S3_ENDPOINT: home, MODEL_CATALOGUE: JSON.stringify([...builtIn, ...atOnce]) }
  rig = await startRig({ processes: 2, cron: false, fallback: true, settings })
  fallback = fallbackUrl(rig.links.fallback.port)
  s3 = s3Of(rig.stack.settings)
  const [one] = await makeTenants(rig, 1)
  if (!one) throw new Error('no tenant')
  tenant = one
  client = merchantAt(rig.url, tenant.token)
}, 90_000)
afterAll(async () => {
  await rig?.stop()
  front.stop()
}, 60_000)
beforeEach(async () => {
  for (const link of [rig.links.storage, rig.links.fallback, rig.links.database]) {
    link.clearFaults()
    await link.start()
  }
  front.listing.isRefused = () => false
})

const query = <T extends object>(sql: string, values: unknown[] = []) => asOwner<T>(rig, sql, values)
const call = async <T>(method: string, path: string, body?: unknown, status = 200): Promise<T> => {
  const answer = await ask(rig.url, tenant, method, path, body === undefined ? {} : { body })
  expect(answer.status, answer.body).toBe(status)
  return (answer.body ? JSON.parse(answer.body) : {}) as T
}
const keyOf = (object: string) => `workspaces/${tenant.workspaceId}/assets/${object}`
const objectOf = async (id: string) =>
  String(
    (await query<{ object_id: string }>('select object_id from assets where id = $1', [id]))[0]?.object_id,
  )
const isIn = async (bucket: string, object: string) =>
  (await s3.fetch(`${bucket}/${keyOf(object)}`, { method: 'HEAD' })).ok
const storeOf = async (id: string) =>
  (await query<{ store: string }>('select store from assets where id = $1', [id]))[0]?.store
const sha256 = async (url: string) => hash('sha256', Buffer.from(await (await fetch(url)).arrayBuffer()))
const upload = async (bytes: Buffer, name = 'a.txt') => (await client.assets.upload(bytes, { name })).id

/** An asset whose object is in the second storage, as if it had been stored there. */
const sendAway = async (bytes: Buffer) => {
  const id = await upload(bytes)
  const object = await objectOf(id)
  const put = await s3.fetch(`${fallback}/${keyOf(object)}`, { method: 'PUT', body: new Uint8Array(bytes) })
  expect(put.status).toBe(200)
  await s3.fetch(`${home}/${keyOf(object)}`, { method: 'DELETE' })
  await query(`update assets set store = 'fallback' where id = $1`, [id])
  await query(
    `insert into outbox (workspace_id, kind, subject_id, available_at) values ($1, 'object.move', $2, now() + interval '1 day')`,
    [tenant.workspaceId, object],
  )
  return { id, object }
}
/** Its time has come. */
const move = async (object: string) => {
  await query(`update outbox set available_at = now() where subject_id = $1`, [object])
  await rig.scheduled()
}
const comesHome = async (id: string, patience = 60_000) => {
  let movedAt = 0
  await waitFor(
    `${id} comes home`,
    async () => {
      // A try that broke off is followed by the next, and one that goes on is not met by many.
      if (Date.now() - movedAt > 5000) {
        movedAt = Date.now()
        await move(await objectOf(id))
      }
      return (await storeOf(id)) === 'home'
    },
    patience,
  )
}
/** Everything is where it belongs, and nothing else anywhere. */
const expectOrder = async () => {
  await query(`update uploads set ends_at = now() - interval '3 hours'`)
  await waitFor('nothing is owed', async () => {
    await query(`update outbox set available_at = now()`)
    await rig.scheduled()
    return (await query('select from outbox')).length === 0
  })
  const listed = async (bucket: string, what = 'list-type=2') =>
    [...(await (await s3.fetch(`${bucket}?${what}`)).text()).matchAll(/<Key>[^<]*\/assets\/([^<]+)/g)]
      .map(([, id]) => id)
      .sort()
  const rows = await query<{ id: string }>(`select distinct object_id as id from assets where store = 'home'`)
  expect(await listed(home)).toEqual(rows.map(({ id }) => id).sort())
  expect(await listed(fallback)).toEqual([])
  // What a move that came twice had begun it aborts.
  for (const bucket of [home, fallback]) {
    await waitFor('no upload is open', async () => (await listed(bucket, 'uploads=')).length === 0, 60_000)
  }
  expect(await query(`select from assets where store = 'fallback'`)).toEqual([])
  expect(await query('select * from app.wrong_counters()')).toEqual([])
}

const open = (path: string) =>
  fetch(`${rig.url}/api/v1${path}`, {
    redirect: 'manual',
    headers: { authorization: `Bearer ${tenant.token}`, 'x-workspace-id': tenant.workspaceId },
  })
const download = async (id: string, query = '') =>
  String((await open(`/assets/${id}/download${query}`)).headers.get('location'))

/** Of what is on its way home. */
const openUploads = async () =>
  [
    ...(await (await s3.fetch(`${home}?uploads=`)).text()).matchAll(/<Key>([^<]*)<\/Key><UploadId>([^<]*)/g),
  ].map(([, key, id]) => `${home}/${key}?uploadId=${encodeURIComponent(String(id))}`)
/** What broke off with storage is left to the bucket's lifecycle rule, which this one has not, or to a walk. */
const forgetUploads = async () => {
  await waitFor(
    'moves are over',
    async () =>
      rig.broker.messages.every(({ deliveries }) => deliveries.every(({ endedAt }) => endedAt !== undefined)),
    60_000,
  )
  for (const upload of await openUploads()) await s3.fetch(upload, { method: 'DELETE' })
}
const partsOf = async (object: string) => {
  const upload = (await openUploads()).find((one) => one.includes(object))
  return upload ? ((await (await s3.fetch(upload)).text()).match(/<Part>/g)?.length ?? 0) : 0
}

interface Job {
  id: string
  status: string
  phase?: string
  outputs: { id: string; url: string; sha256: string }[]
}
const generate = (input: object = {}) =>
  call<Job>('POST', '/generations', { task: 'scene', prompt: crypto.randomUUID(), ...input }, 202)
const get = (id: string) => call<Job>('GET', `/generations/${id}`)
const stores = (id: string, patience = 30_000) =>
  waitFor('its results wait', async () => (await get(id)).phase === 'storing', patience)
const succeeds = (id: string, patience = 60_000) =>
  waitFor(
    `${id} succeeds`,
    async () => {
      const job = await get(id)
      expect(job.status).not.toBe('failed')
      return job.status === 'succeeded' && job
    },
    patience,
  )
/** So many minutes pass for a job whose results wait. */
const pass = async (id: string, minutes: number) => {
  await query(
    `update generations set results_at = results_at - make_interval(mins => $2), next_step_at = now() where id = $1`,
    [id, minutes],
  )
  await query('update outbox set available_at = now() where subject_id = $1', [id])
  await rig.scheduled()
}

const refuse = (isRefused: typeof front.listing.isRefused) => {
  front.listing.isRefused = isRefused
}

test('results that wait a moment only are stored at home', async () => {
  await rig.links.storage.stop()
  const { id } = await generate()
  await stores(id)
  await rig.links.storage.start()
  await pass(id, 0)
  const { outputs } = await succeeds(id)
  expect(await storeOf(String(outputs[0]?.id))).toBe('home')
  await expectOrder()
}, 90_000)

test.each([
  ['is not there', () => rig.links.storage.stop()],
  ['answers 500', () => refuse(() => true)],
  ['takes no file', () => refuse((method) => method === 'PUT' || method === 'POST')],
  ['is silent', () => void rig.links.storage.fault({ kind: 'hang', of: 'answer' })],
  [
    'cuts every file',
    () => void rig.links.storage.fault({ kind: 'reset', of: 'request', after: 400, match: 'PUT ' }),
  ],
])(
  'storage that %s: results are stored elsewhere, served from there, and come home',
  async (_, hurt) => {
    await hurt()
    const { id } = await generate({ count: 2 })
    await stores(id, 100_000)
    await pass(id, 3)
    const { outputs } = await succeeds(id, 120_000)
    expect(outputs).toHaveLength(2)
    for (const output of outputs) {
      expect(await storeOf(output.id)).toBe('fallback')
      expect(output.url).toContain(fallback)
      expect(await sha256(output.url)).toBe(output.sha256)
    }
    const [one = { id: '', sha256: '' }] = outputs
    const links = await call<{ data: { url: string }[] }>('POST', '/assets/downloads', { ids: [one.id] })
    for (const url of [String(links.data[0]?.url), await download(one.id)]) {
      expect(url).toContain(fallback)
      expect(await sha256(url)).toBe(one.sha256)
    }
    rig.links.storage.clearFaults()
    await rig.links.storage.start()
    front.listing.isRefused = () => false
    for (const output of outputs) {
      await comesHome(output.id)
      const { url } = (await get(id)).outputs.find((now) => now.id === output.id) ?? { url: '' }
      expect(url).toContain(home)
      expect(await sha256(url)).toBe(output.sha256)
    }
    await expectOrder()
  },
  240_000,
)

test('uploads are refused while storage is away, and never go elsewhere', async () => {
  await rig.links.storage.stop()
  const big = JSON.stringify({ name: 'a.mp4', mimeType: 'video/mp4', size: 200_000_000 })
  for (const [path, type, body] of [
    ['upload', 'application/octet-stream', 'text'],
    ['uploads', 'application/json', big],
  ] as const) {
    const headers = {
      authorization: `Bearer ${tenant.token}`,
      'x-workspace-id': tenant.workspaceId,
      'content-type': type,
    }
    const answer = await fetch(`${rig.url}/api/v1/assets/${path}`, { method: 'POST', headers, body })
    expect(answer.status).toBe(503)
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
  }
  expect(await query(`select from assets where status = 'pending'`)).toEqual([])
  await rig.links.storage.start()
  await expectOrder()
})

test('what is elsewhere has copies, checks and exports, is an input, shares its object, and is downloaded', async () => {
  const photo = await makeSamplePhoto()
  const { id, object } = await sendAway(photo)
  const copy = await download(id, '?width=320&format=webp')
  expect(copy).toContain(home)
  expect((await fetch(copy)).status).toBe(200)
  const { data } = await call<{ data: { checks: object[] }[] }>('GET', `/assets/${id}/checks?channel=web`)
  expect(data[0]?.checks.length).toBeGreaterThan(0)
  await call('POST', `/assets/${id}/exports`, { channels: ['web'] }, 202)
  await waitFor(
    'the export is made',
    async () => {
      const { data } = await call<{ data: { status: string }[] }>('GET', `/assets/${id}/exports`)
      return data[0]?.status === 'succeeded'
    },
    30_000,
  )
  await succeeds((await generate({ inputAssetIds: [id] })).id)
  const twin = await upload(photo, 'b.jpg')
  expect(await query('select object_id, store from assets where id = $1', [twin])).toEqual([
    { object_id: object, store: 'fallback' },
  ])
  const url = await download(twin)
  expect(url).toContain(fallback)
  expect(await sha256(url)).toBe(hash('sha256', photo))
  await comesHome(id)
  expect(await storeOf(twin)).toBe('home')
  await call('DELETE', `/assets/${id}`, undefined, 204)
  await expectOrder()
  expect(await isIn(home, object)).toBe(true)
  await call('DELETE', `/assets/${twin}`, undefined, 204)
  await expectOrder()
  expect(await isIn(home, object)).toBe(false)
}, 120_000)

/** Three parts. */
const file = () => Buffer.from(randomBytes(6 << 20).toString('hex'))

test.each<[string, () => { hits: number } | undefined]>([
  [
    'the second storage is silent',
    () => rig.links.fallback.fault({ kind: 'hang', of: 'answer', match: 'GET ', times: 1 }),
  ],
  [
    'the second storage cuts the file',
    () =>
      rig.links.fallback.fault({ kind: 'reset', of: 'answer', match: 'GET ', after: 7_000_000, times: 1 }),
  ],
  [
    'storage cuts a part',
    () => rig.links.storage.fault({ kind: 'reset', of: 'answer', match: 'partNumber=2', times: 5 }),
  ],
  [
    'storage is silent about a part',
    () => rig.links.storage.fault({ kind: 'hang', of: 'answer', match: 'partNumber=3', times: 3 }),
  ],
  [
    'the beginning is not answered',
    () => rig.links.storage.fault({ kind: 'reset', of: 'answer', match: '?uploads=', times: 3 }),
  ],
  [
    'the end is not answered',
    () => rig.links.storage.fault({ kind: 'reset', of: 'answer', match: '?uploadId=', times: 2 }),
  ],
  [
    'storage refuses the end',
    () => {
      let times = 0
      front.listing.isRefused = (method, url) =>
        method === 'POST' && url.includes('?uploadId=') && ++times <= 3
      return undefined
    },
  ],
  [
    'the size is not answered',
    () => rig.links.storage.fault({ kind: 'reset', of: 'answer', match: 'HEAD ', times: 4 }),
  ],
  [
    'the database loses the answer',
    () => rig.links.database.fault({ kind: 'reset', of: 'answer', match: `set \\"store\\"`, times: 1 }),
  ],
])(
  'a move in which %s ends at home',
  async (_, hurt) => {
    const bytes = file()
    const { id, object } = await sendAway(bytes)
    const fault = hurt()
    await move(object)
    if (fault) await waitFor('it was met', async () => fault.hits > 0, 30_000)
    await comesHome(id, 120_000)
    expect(await sha256(await download(id))).toBe(hash('sha256', bytes))
    await forgetUploads()
    await expectOrder()
  },
  200_000,
)

test('an asset that is deleted while it is on its way leaves nothing behind', async () => {
  const { id, object } = await sendAway(file())
  rig.links.fallback.fault({ kind: 'slow', of: 'answer', match: 'GET ', bytesPerSecond: 4_000_000, times: 1 })
  await move(object)
  await waitFor('a part has arrived', async () => (await partsOf(object)) > 0)
  await call('DELETE', `/assets/${id}`, undefined, 204)
  await waitFor('it is gone', async () => !(await isIn(fallback, object)))
  await expectOrder()
}, 90_000)

test('one of two that share it is deleted while it is on its way', async () => {
  const bytes = file()
  const { id, object } = await sendAway(bytes)
  const twin = await upload(bytes)
  rig.links.fallback.fault({ kind: 'slow', of: 'answer', match: 'GET ', bytesPerSecond: 4_000_000, times: 1 })
  await move(object)
  await waitFor('a part has arrived', async () => (await partsOf(object)) > 0)
  await call('DELETE', `/assets/${id}`, undefined, 204)
  await comesHome(twin)
  await expectOrder()
  expect(await sha256(await download(twin))).toBe(hash('sha256', bytes))
}, 90_000)

test('two that move it at once do it once', async () => {
  const bytes = file()
  const { id, object } = await sendAway(bytes)
  rig.links.fallback.fault({
    kind: 'slow',
    of: 'answer',
    match: 'GET ',
    bytesPerSecond: 20_000_000,
    times: 2,
  })
  const message = { kind: 'object.move', workspaceId: tenant.workspaceId, subjectId: object }
  for (let i = 0; i < 3; i++) rig.broker.send('uploads', message)
  await comesHome(id)
  await expectOrder()
  expect(await sha256(await download(id))).toBe(hash('sha256', bytes))
}, 90_000)

test('storage that goes away again in the middle keeps what is elsewhere there', async () => {
  const bytes = file()
  const { id, object } = await sendAway(bytes)
  rig.links.fallback.fault({ kind: 'slow', of: 'answer', match: 'GET ', bytesPerSecond: 4_000_000, times: 1 })
  await move(object)
  await waitFor('a part has arrived', async () => (await partsOf(object)) > 0)
  await rig.links.storage.stop()
  await waitFor('it was given up', async () =>
    rig.broker.messages.some(
      ({ body, deliveries }) =>
        (body as { subjectId?: string }).subjectId === object && deliveries[0]?.endedAt !== undefined,
    ),
  )
  expect(await storeOf(id)).toBe('fallback')
  expect(await sha256(await download(id))).toBe(hash('sha256', bytes))
  await rig.links.storage.start()
  await comesHome(id, 120_000)
  await forgetUploads()
  await expectOrder()
  expect(await sha256(await download(id))).toBe(hash('sha256', bytes))
}, 200_000)

test('what is damaged elsewhere does not replace what it was', async () => {
  const { id, object } = await sendAway(Buffer.from('text that is right'))
  await s3.fetch(`${fallback}/${keyOf(object)}`, { method: 'PUT', body: 'text that is wrong' })
  await move(object)
  await waitFor('it was tried', async () => rig.api.some(({ logged }) => logged('its SHA-256 is')))
  expect(await storeOf(id)).toBe('fallback')
  expect(await isIn(home, object)).toBe(false)
  await s3.fetch(`${fallback}/${keyOf(object)}`, { method: 'PUT', body: 'text that is right' })
  await comesHome(id)
  await expectOrder()
})

test.each(['openai-scene', 'gemini-scene'])(
  '%s answers with the picture: two minutes later it is elsewhere',
  async (model) => {
    await rig.links.storage.stop()
    const { id } = await generate({ model, count: 2 })
    const { outputs } = await succeeds(id, 200_000)
    expect(outputs).toHaveLength(2)
    for (const output of outputs) {
      expect(await storeOf(output.id)).toBe('fallback')
      expect(await sha256(output.url)).toBe(output.sha256)
    }
    await rig.links.storage.start()
    for (const output of outputs) await comesHome(output.id)
    await expectOrder()
  },
  300_000,
)

test('a walk looks through both', async () => {
  for (let i = 0; i < 12; i++) await upload(Buffer.from(randomBytes(10).toString('hex')))
  const away = []
  for (let i = 0; i < 11; i++) away.push(await sendAway(Buffer.from(randomBytes(10).toString('hex'))))
  const [lost = { id: '', object: '' }] = away
  const left = await upload(Buffer.from(randomBytes(10).toString('hex')))
  const inBoth = [crypto.randomUUID(), await objectOf(left)]
  await s3.fetch(`${fallback}/${keyOf(lost.object)}`, { method: 'DELETE' })
  for (const object of inBoth) await s3.fetch(`${fallback}/${keyOf(object)}`, { method: 'PUT', body: 'x' })
  await query(`update assets set created_at = now() - interval '4 days'`)
  front.listing.isOld = () => true
  await query(`delete from outbox where kind = 'object.move' and subject_id = $1`, [lost.object])
  const walks = walksOf(rig)
  await walks.makeDue()
  const found = await walks.ended()
  // What strays elsewhere has just come, for all that its listing says.
  expect(found).toMatchObject({ withoutRow: 0, withoutObject: 1, isTrusted: true })
  expect(await query(`select subject_id from outbox where kind = 'object.lost'`)).toEqual([
    { subject_id: lost.object },
  ])
  for (const { id } of away.slice(1)) await comesHome(id)
  await query(
    `insert into outbox (workspace_id, kind, subject_id, available_at) select $1, 'object.delete', unnest($2::uuid[]), now()`,
    [tenant.workspaceId, inBoth],
  )
  await expectOrder()
  expect(await query('select from assets where id = any($1)', [[lost.id, left]])).toHaveLength(1)
}, 120_000)
