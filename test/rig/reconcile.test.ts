/** Storage held against the database: what is found, what is mended and when, and whom nothing is believed. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Rig, startRig } from '../../dev/rig/rig.ts'
import { ask, asOwner, makeTenants, type Tenant } from '../../dev/rig/trials/tenants.ts'
import { bucketUrl, s3Of } from '../../dev/storage.ts'
import { startListing } from '../support/listing.ts'
import { merchantAt } from '../support/merchant.ts'
import { waitFor } from '../support/wait-for.ts'
import { type WalkReport, walksOf } from '../support/walk.ts'

let rig: Rig
let tenant: Tenant
let client: ReturnType<typeof merchantAt>
const front = await startListing(() => rig.links.storage.port)
const bucket = bucketUrl(front.port)
let s3: ReturnType<typeof s3Of>
let walks: ReturnType<typeof walksOf>

beforeAll(async () => {
  rig = await startRig({ processes: 2, cron: false, settings: { S3_ENDPOINT: bucket } })
  s3 = s3Of(rig.stack.settings)
  walks = walksOf(rig)
  const [one] = await makeTenants(rig, 1)
  if (!one) throw new Error('no tenant')
  tenant = one
  client = merchantAt(rig.url, tenant.token)
  // A few that are missing are few of these.
  for (let i = 0; i < 40; i++) await upload()
}, 90_000)
afterAll(async () => {
  await rig?.stop()
  front.stop()
}, 60_000)
beforeEach(async () => {
  rig.links.storage.clearFaults()
  rig.links.database.clearFaults()
  await rig.links.storage.start()
  Object.assign(front.listing, {
    page: 1000,
    isOld: () => false,
    change: (body: string) => ({ body }),
    asked: [],
  })
})

const query = <T extends object>(sql: string, values: unknown[] = []) => asOwner<T>(rig, sql, values)
const call = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
  const answer = await ask(rig.url, tenant, method, path, body === undefined ? {} : { body })
  expect(answer.status, answer.body).toBeLessThan(300)
  return (answer.body ? JSON.parse(answer.body) : {}) as T
}
const upload = async (bytes: Buffer = Buffer.from(randomBytes(20).toString('hex'))) =>
  (await client.assets.upload(bytes, { name: 'a.txt' })).id
const objectOf = async (id: string) =>
  String(
    (await query<{ object_id: string }>('select object_id from assets where id = $1', [id]))[0]?.object_id,
  )
const keyOf = (id: string, folder = 'assets') => `workspaces/${tenant.workspaceId}/${folder}/${id}`
const put = async (key: string) =>
  expect((await s3.fetch(`${bucket}/${key}`, { method: 'PUT', body: 'x' })).status).toBe(200)
const remove = (key: string) => s3.fetch(`${bucket}/${key}`, { method: 'DELETE' })
const isThere = async (key: string) => (await s3.fetch(`${bucket}/${key}`, { method: 'HEAD' })).ok
const owed = (kind: string) =>
  query<{ subject_id: string; days: number }>(
    `select subject_id, extract(epoch from available_at - now())::int / 86400 as days from outbox where kind = $1 order by subject_id`,
    [kind],
  )

const walk = async () => {
  await walks.makeDue()
  return walks.ended()
}
/** All that is there is older than anything may wait for. */
const age = async () => {
  front.listing.isOld = () => true
  await query(`update assets set created_at = now() - interval '4 days'`)
}
/** The time of all notes comes. */
const passGrace = () =>
  waitFor('nothing is owed', async () => {
    await query('update outbox set available_at = now()')
    await rig.scheduled()
    return (await query('select from outbox')).length === 0
  })
const readiness = async () =>
  (await (await fetch(`${rig.url}/health/ready`)).json()) as { checks: object; files: object | null }
const freshReadiness = async (expected: object) => {
  await waitFor('readiness says so', async () => {
    const found = await readiness()
    return JSON.stringify(found).includes(JSON.stringify(expected).slice(1, -1)) && found
  })
}

test('a bucket that is as it should be has no findings, whatever its pages', async () => {
  await age()
  front.listing.page = 7
  const report = await walk()
  expect(report).toMatchObject({ withoutRow: 0, withoutObject: 0, isTrusted: true })
  expect(report.keys).toBeGreaterThanOrEqual(40)
  expect(report.objects).toBe(report.keys)
  expect(front.listing.asked.length).toBeGreaterThanOrEqual(Math.floor(report.keys / 7))
  await freshReadiness({ objectsWithoutAsset: 0, assetsWithoutObject: 0, mends: true })
})

test('what nobody needs is deleted, and what has lost its object goes, after a grace period', async () => {
  const orphan = crypto.randomUUID()
  const [copied, prepared, sent] = [crypto.randomUUID(), crypto.randomUUID(), crypto.randomUUID()]
  const keys = [keyOf(orphan), `${keyOf(copied, 'copies')}/320.webp`, `${keyOf(prepared, 'inputs')}.jpg`]
  const foreign = `workspaces/${tenant.workspaceId}/other/thing`
  for (const key of [...keys, foreign]) await put(key)
  const started = await s3.fetch(`${bucket}/${keyOf(sent)}?uploads=`, { method: 'POST' })
  expect(started.status).toBe(200)
  const bytes = Buffer.from(randomBytes(20).toString('hex'))
  const [first, second] = [await upload(bytes), await upload(bytes)]
  await call('PATCH', `/assets/${second}`, { tags: ['lost'] })
  // Of the same bytes the second object goes at once.
  await passGrace()
  const announced = await call<{ asset: { id: string } }>('POST', '/assets/uploads', {
    name: 'big.mp4',
    mimeType: 'video/mp4',
    size: 200_000_000,
  })
  await age()
  const open = async () =>
    (await (await s3.fetch(`${bucket}?uploads=&prefix=workspaces%2F`)).text()).match(/<Key>[^<]*/g)
  expect(await open()).toHaveLength(2)
  const object = await objectOf(first)
  // More than one transaction deletes.
  await query(
    `insert into assets (workspace_id, id, object_id, name, kind, mime_type, size, sha256, source, status, created_by)
     select workspace_id, app.uuid_v7(), object_id, name, kind, mime_type, size, sha256, source, status, created_by
       from assets, generate_series(1, 600) where id = $1`,
    [first],
  )
  await query(`delete from outbox where kind = 'object.delete' and subject_id = $1`, [object])
  await remove(keyOf(object))
  const [before] = await query<{ stored_bytes: string }>('select stored_bytes from workspace_counters')

  // What has just come may be of something that is under way.
  front.listing.isOld = () => false
  expect(await walk()).toMatchObject({ withoutRow: 0, withoutObject: 1, isTrusted: true })
  front.listing.isOld = () => true
  expect(await walk()).toMatchObject({ withoutRow: 3, withoutObject: 1, isTrusted: true })
  await freshReadiness({ objectsWithoutAsset: 3, assetsWithoutObject: 1, mends: true })
  expect((await owed('object.delete')).map((one) => one.subject_id)).toEqual(
    [orphan, copied, prepared].sort(),
  )
  expect(await owed('object.lost')).toEqual([{ subject_id: object, days: 2 }])
  // Those of the upload that is owed stay.
  expect(await open()).toEqual([`<Key>${keyOf(announced.asset.id)}`])
  for (const key of [...keys, foreign]) expect(await isThere(key)).toBe(true)
  // What is owed by now is no finding any more; what is lost stays one.
  expect(await walk()).toMatchObject({ withoutRow: 0, withoutObject: 1 })

  await query(`update uploads set ends_at = now() - interval '3 hours'`)
  await passGrace()
  for (const key of keys) expect(await isThere(key)).toBe(false)
  expect(await isThere(foreign)).toBe(true)
  expect(await query('select from assets where id = any($1)', [[first, second]])).toEqual([])
  expect(await query('select from asset_tags')).toEqual([])
  const log = await query<{ actor_type: string; resource_id: string }>(
    `select actor_type, resource_id from audit_logs where action = 'asset.lose'`,
  )
  expect(log).toHaveLength(602)
  expect(log.map((one) => one.resource_id)).toEqual(expect.arrayContaining([first, second]))
  expect(new Set(log.map((one) => one.actor_type))).toEqual(new Set(['system']))
  expect(await query('select * from app.wrong_counters()')).toEqual([])
  const [after] = await query<{ stored_bytes: string }>('select stored_bytes from workspace_counters')
  expect(Number(before?.stored_bytes) - Number(after?.stored_bytes)).toBe(602 * 40 + 200_000_000)
  expect(await walk()).toMatchObject({ withoutRow: 0, withoutObject: 0, isTrusted: true })
})

test('an object that is back keeps its asset, and one that a customer deletes is nobody’s business', async () => {
  const [back, deleted] = [await upload(), await upload()]
  const object = await objectOf(back)
  await age()
  for (const one of [object, await objectOf(deleted)]) await remove(keyOf(one))
  expect(await walk()).toMatchObject({ withoutObject: 2, isTrusted: true })
  await put(keyOf(object))
  await call('DELETE', `/assets/${deleted}`)
  await passGrace()
  expect(await query('select from assets where id = $1', [back])).toHaveLength(1)
  expect(await query('select from assets where id = $1', [deleted])).toEqual([])
  expect(
    await query(`select from audit_logs where action = 'asset.lose' and resource_id = any($1)`, [
      [back, deleted],
    ]),
  ).toEqual([])
})

const without = (body: string, keep: number) => {
  const entries = body.match(/<Contents>.*?<\/Contents>/gs) ?? []
  return body
    .replace(/<Contents>.*<\/Contents>/s, entries.slice(0, keep).join(''))
    .replace(/<KeyCount>\d+/, `<KeyCount>${keep}`)
}

test.each([
  ['another, empty bucket', (body: string) => ({ body: without(body, 0) })],
  ['a listing that ends early', (body: string) => ({ body: without(body, 10) })],
])('%s is reported, and nothing is mended', async (_, change) => {
  const lost = await upload()
  const object = await objectOf(lost)
  await age()
  await remove(keyOf(object))
  front.listing.change = change
  expect(await walk()).toMatchObject({ isTrusted: false })
  await waitFor('readiness says so', async () => {
    const { checks, files } = await readiness()
    return (
      JSON.stringify([checks, files]).includes('"storage":"degraded"') &&
      (files as { mends: boolean }).mends === false
    )
  })
  expect(await owed('object.lost')).toEqual([])
  expect(await owed('object.delete')).toEqual([])
  // What an earlier walk noted waits, too.
  front.listing.change = (body) => ({ body })
  expect(await walk()).toMatchObject({ withoutObject: 1, isTrusted: true })
  front.listing.change = change
  expect(await walk()).toMatchObject({ isTrusted: false })
  await query('update outbox set available_at = now()')
  await rig.scheduled()
  await waitFor('it was tried', async () =>
    rig.broker.messages.some(
      ({ body, deliveries }) =>
        (body as { subjectId?: string }).subjectId === object && deliveries[0]?.endedAt !== undefined,
    ),
  )
  expect(await query('select from assets where id = $1', [lost])).toHaveLength(1)
  await put(keyOf(object))
  front.listing.change = (body) => ({ body })
  expect(await walk()).toMatchObject({ withoutObject: 0, isTrusted: true })
  await passGrace()
})

test('many findings, or a large share, are reported only', async () => {
  const ids = Array.from({ length: 8 }, () => crypto.randomUUID())
  for (const id of ids) await put(keyOf(id))
  await age()
  expect(await walk()).toMatchObject({ withoutRow: 8, isTrusted: false })
  expect(await owed('object.delete')).toEqual([])
  for (const id of ids.slice(3)) await remove(keyOf(id))
  expect(await walk()).toMatchObject({ withoutRow: 3, isTrusted: true })
  await passGrace()
  for (const id of ids) expect(await isThere(keyOf(id))).toBe(false)
})

test.each([
  ['an error with 200', () => ({ body: '<Error><Code>InternalError</Code></Error>' })],
  ['500', () => ({ status: 500, body: '' })],
  ['a bucket that is not there', () => ({ status: 404, body: '<Error><Code>NoSuchBucket</Code></Error>' })],
  ['silence', () => undefined],
  ['an answer that breaks off', (body: string) => ({ body, cut: true })],
  [
    'other keys than were asked for',
    (body: string) => ({ body: body.replaceAll('<Key>workspaces', '<Key>others') }),
  ],
  ['keys without order', (body: string) => ({ body: body.replace('<Key>workspaces/', '<Key>workspaces/~') })],
  [
    'a page without keys that is not the last',
    (body: string) => ({ body: without(body, 0).replace('<IsTruncated>false', '<IsTruncated>true') }),
  ],
  [
    'fewer keys than it counts',
    (body: string) => ({ body: without(body, 5).replace('<KeyCount>5', '<KeyCount>6') }),
  ],
])('%s: nothing is concluded, and the walk goes on afterwards', async (_, change) => {
  await age()
  front.listing.page = 9
  let pages = 0
  // The third page and those that follow.
  front.listing.change = (body) => (++pages > 2 ? change(body) : { body })
  await walks.makeDue()
  await rig.scheduled()
  await waitFor('it was met', async () => {
    await rig.scheduled()
    return pages > 2
  })
  expect(await walks.sweeper<WalkReport>('lastWalk')).toMatchObject({ startedAt: 0 })
  front.listing.change = (body) => ({ body })
  const before = front.listing.asked.length
  expect(await walks.ended()).toMatchObject({ withoutRow: 0, withoutObject: 0, isTrusted: true })
  // From where it broke off.
  expect(front.listing.asked[before]).not.toBe('')
})

test('two sweepers at once compare each page once', async () => {
  await age()
  front.listing.page = 5
  await walks.makeDue()
  await Promise.all([rig.scheduled(), rig.scheduled(), rig.scheduled()])
  const report = await walks.ended()
  expect(report).toMatchObject({ withoutRow: 0, withoutObject: 0, isTrusted: true })
  expect(new Set(front.listing.asked).size).toBe(front.listing.asked.length)
})

test('while files come and go, nothing of them is found', async () => {
  await age()
  front.listing.page = 4
  await walks.makeDue()
  let isOver = false
  const traffic = async () => {
    while (!isOver) {
      const id = await upload()
      await query(`update assets set created_at = now() - interval '4 days' where id = $1`, [id])
      await call('DELETE', `/assets/${id}`)
    }
  }
  const busy = [traffic(), traffic(), traffic()]
  const report = await walks.ended().finally(() => {
    isOver = true
  })
  await Promise.all(busy)
  expect(report).toMatchObject({ isTrusted: true })
  expect(await owed('object.lost')).toEqual([])
  await passGrace()
})

test('the sweeper goes on with it by itself while somebody uses the database', async () => {
  await age()
  front.listing.page = 20
  await walks.makeDue()
  const report = await waitFor(
    'the walk is over',
    async () => {
      await call('GET', '/assets')
      const last = await walks.sweeper<WalkReport>('lastWalk')
      return last.startedAt > 0 && last
    },
    100_000,
  )
  expect(report).toMatchObject({ withoutRow: 0, withoutObject: 0, isTrusted: true })
}, 120_000)
