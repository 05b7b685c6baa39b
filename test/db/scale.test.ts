/** Lists of a workspace with many rows, beside another with many and hundreds with few: what they read, and that they are right. */
import { hash } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Rig, startRig } from '../../dev/rig/rig.ts'
import { startInstantModels } from '../../dev/rig/trials/instant-models.ts'
import { listsOf } from '../../dev/rig/trials/lists.ts'
import { type Facts, fillDatabase } from '../../dev/rig/trials/many-rows.ts'
import { countRead, isUpkeep, type Statement, statementsOf } from '../../dev/rig/trials/replay.ts'
import { ask, asOwner, makeTenants, type Tenant } from '../../dev/rig/trials/tenants.ts'
import { withClient } from '../../scripts/migrate.ts'

/** Rows of each table, in each of two workspaces. */
const ROWS = 4000

let models: Awaited<ReturnType<typeof startInstantModels>>
let rig: Rig
let large: Tenant
let empty: Tenant
let receiver: Tenant
let facts: Facts
let replayer: pg.Client

beforeAll(async () => {
  models = await startInstantModels()
  rig = await startRig({ alone: true, cron: false, settings: { REPLICATE_BASE_URL: models.origin } })
  const [first, second, third, fourth] = await makeTenants(rig, 4)
  if (!first || !second || !third || !fourth) throw new Error('no tenants')
  large = first
  empty = third
  receiver = fourth
  facts = await fillDatabase(rig.stack.database.adminUrl, {
    workspaces: [large, second].map(({ workspaceId: id }) => ({ id, rows: ROWS })),
    others: { count: 300, rows: 2 },
  })
  replayer = new pg.Client(rig.stack.database.tenantUrl)
  await replayer.connect()
}, 90_000)

afterAll(async () => {
  await replayer?.end()
  await rig?.stop()
  models?.stop()
}, 60_000)

/** What a page of the list reads in the database. */
const readBy = async (tenant: Tenant, path: string) => {
  let heard: Statement[] = []
  rig.links.database.watch((request) => {
    if (!isUpkeep(request)) heard = statementsOf(request)
  })
  const signal = path === '/events' ? AbortSignal.timeout(300) : undefined
  const answer = await ask(rig.url, tenant, 'GET', path.replace('{workspace}', tenant.workspaceId), {
    ...(signal && { signal }),
  })
  rig.links.database.watch(undefined)
  if (!signal) expect([200, 404], `${path} ${answer.body}`).toContain(answer.status)
  return countRead(replayer, heard)
}

/** Rows and index entries that a page may read: some for each that it shows, and the names that a search looks at. */
const allowed = (path: string) => {
  // Twice as many as it looks at, and what matches among the rest.
  if (path.includes('q=')) return 1300
  // Of those in line, a thousand are counted.
  if (path.startsWith('/generations')) return path.includes('limit=100') ? 500 : 300
  // By a tag: its entries, and the rows that they name.
  return path.includes('limit=100') ? 250 : 120
}

test('no list reads more than a few times what it shows, nor anything of other workspaces', async () => {
  const read: Record<string, { large: number; empty: number }> = {}
  for (const path of listsOf(facts)) {
    read[path] = { large: await readBy(large, path), empty: await readBy(empty, path) }
  }
  const tooMuch = Object.entries(read).filter(([path, of]) => of.large > allowed(path) || of.empty > 20)
  expect(Object.fromEntries(tooMuch)).toEqual({})
}, 60_000)

const truth = (table: string, where: string) =>
  withClient(rig.stack.database.adminUrl, async (db) => {
    const { rows } = await db.query<{ id: string }>(
      `select id from ${table} where workspace_id = $1 and ${where} order by id desc`,
      [large.workspaceId],
    )
    return rows.map(({ id }) => id)
  })

/** Page by page, up to so many. */
const listed = async (path: string, pages: number) => {
  const ids: string[] = []
  let cursor = ''
  for (let page = 0; page < pages; page++) {
    const { status, body } = await ask(rig.url, large, 'GET', `${path}${cursor}`)
    expect(status, body).toBe(200)
    // `as`: every list has this form.
    const answer = JSON.parse(body) as { data: { id: string }[]; nextCursor: string | null }
    ids.push(...answer.data.map(({ id }) => id))
    if (!answer.nextCursor) return { ids, isAll: true }
    cursor = `&cursor=${answer.nextCursor}`
  }
  return { ids, isAll: false }
}

test('what filters leave open comes merged, newest first, page by page', async () => {
  const { busyActor, rareActor, middle } = facts
  const id = `app.uuid_at('${middle.time}')`
  const cases: [path: string, table: string, where: string][] = [
    ['/assets?kind=image', 'assets', `kind = 'image'`],
    ['/assets?source=upload', 'assets', `source = 'upload'`],
    ['/assets?status=ready&kind=video', 'assets', `status = 'ready' and kind = 'video'`],
    ['/assets?status=pending', 'assets', `status = 'pending'`],
    ['/assets?tag=summer', 'assets', `'summer' = any(tags)`],
    ['/assets?tag=summer&kind=image', 'assets', `'summer' = any(tags) and kind = 'image'`],
    ['/assets?tag=rare', 'assets', `'rare' = any(tags)`],
    [`/assets?since=${middle.time}`, 'assets', `id >= ${id}`],
    [`/assets?tag=summer&until=${middle.time}`, 'assets', `'summer' = any(tags) and id < ${id}`],
    [`/assets?kind=video&until=${middle.time}`, 'assets', `kind = 'video' and id < ${id}`],
    ['/assets?q=00.jpg&tag=summer', 'assets', `name like '%00.jpg' and 'summer' = any(tags)`],
    [`/assets?q=zebra&until=${middle.time}`, 'assets', `name ilike '%zebra%' and id < ${id}`],
    ['/assets?q=photo', 'assets', `name ilike '%photo%'`],
    ['/assets?q=ZEBRA', 'assets', `name ilike '%zebra%'`],
    ['/assets?q=00.JPG', 'assets', `name like '%00.jpg'`],
    ['/assets?q=00.jpg&source=upload', 'assets', `name like '%00.jpg' and source = 'upload'`],
    [
      '/assets?q=1.jpg&kind=video&source=upload',
      'assets',
      `name like '%1.jpg' and kind = 'video' and source = 'upload'`,
    ],
    ['/generations?status=failed', 'generations', `status = 'failed'`],
    ['/generations?kind=video', 'generations', `kind = 'video'`],
    ['/generations?kind=image&status=failed', 'generations', `kind = 'image' and status = 'failed'`],
    ['/generations?task=scene&kind=video', 'generations', 'false'],
    ['/generations?task=cutout', 'generations', `task = 'cutout'`],
    [`/generations?since=${middle.time}`, 'generations', `id >= ${id}`],
    [`/generations?task=scene&until=${middle.time}`, 'generations', `task = 'scene' and id < ${id}`],
    ['/audit-logs?action=asset.create', 'audit_logs', `action = 'asset.create'`],
    ['/audit-logs?resourceType=generation', 'audit_logs', `resource_type = 'generation'`],
    [`/audit-logs?actorId=${busyActor}`, 'audit_logs', `actor_id = '${busyActor}'`],
    [`/audit-logs?actorId=${rareActor}`, 'audit_logs', `actor_id = '${rareActor}'`],
    [
      `/audit-logs?actorId=${busyActor}&action=member.update`,
      'audit_logs',
      `actor_id = '${busyActor}' and action = 'member.update'`,
    ],
    [
      `/audit-logs?since=${middle.time}&resourceType=asset`,
      'audit_logs',
      `resource_type = 'asset' and id >= ${id}`,
    ],
    [`/audit-logs?until=${middle.time}`, 'audit_logs', `id < ${id}`],
    [
      `/audit-logs?resourceId=${middle.asset}&action=asset.create`,
      'audit_logs',
      `resource_id = '${middle.asset}'`,
    ],
  ]
  for (const [path, table, where] of cases) {
    const all = await truth(table, where)
    const { ids, isAll } = await listed(path, 3)
    expect(ids, path).toEqual(all.slice(0, ids.length))
    expect(isAll ? ids.length : all.length > ids.length, path).toBe(isAll ? all.length : true)
  }
}, 60_000)

test('deliveries are found behind many that failed, and many of an endpoint that is deleted', async () => {
  const newEndpoint = async (row: { deliveries: number; delivered: number; deletedAt?: 'now' }) => {
    const id = crypto.randomUUID()
    await asOwner(
      rig,
      `insert into webhook_endpoints (workspace_id, id, url, events, secret, deleted_at) values ($1, $2, 'https://example.com', '{}', 's', $3)`,
      [receiver.workspaceId, id, row.deletedAt ?? null],
    )
    await asOwner(
      rig,
      `insert into webhook_deliveries (workspace_id, endpoint_id, url, sequence, payload, status, ended_at)
       select $1, $2, 'https://example.com', n, '{}', case when n <= $4 then 'delivered' else 'failed' end, now() from generate_series(1, $3) n`,
      [receiver.workspaceId, id, row.deliveries, row.delivered],
    )
    return id
  }
  const id = await newEndpoint({ deliveries: ROWS, delivered: 3 })
  await newEndpoint({ deliveries: ROWS, delivered: ROWS, deletedAt: 'now' })
  await asOwner(rig, 'analyze webhook_deliveries')
  for (const [filter, shown] of [
    ['', 20],
    ['?status=failed', 20],
    ['?status=delivered', 3],
    [`?endpointId=${id}`, 20],
    [`?endpointId=${id}&status=delivered`, 3],
  ] as const) {
    const path = `/webhooks/deliveries${filter}`
    const { body } = await ask(rig.url, receiver, 'GET', path)
    // `as`: every list has this form.
    const { data } = JSON.parse(body) as { data: { endpointId: string }[] }
    expect(
      data.map(({ endpointId }) => endpointId),
      path,
    ).toEqual(Array(shown).fill(id))
    expect(await readBy(receiver, path), path).toBeLessThan(allowed(path))
  }
}, 60_000)

test('free credits are found among those of many', async () => {
  await asOwner(
    rig,
    `insert into free_grants (person, user_id, period, domain, created_at)
     select md5(n::text), gen_random_uuid(), now(), 'example.com', now() - interval '2 days' from generate_series(1, 3000) n`,
  )
  await asOwner(rig, 'analyze free_grants')
  const { workspaceId } = empty
  const read = await withClient(rig.stack.database.adminUrl, (owner) =>
    countRead(owner, [
      // As behind the gate.
      {
        query: `select set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)`,
        params: [],
      },
      {
        query: `update users set email_verified_at = now() where id = any(array(select user_id from memberships where workspace_id = $1))`,
        params: [workspaceId],
      },
      // Of somebody whose workspace is gone, and who has another one.
      {
        query: `insert into free_grants (person, user_id, period, domain) select app.person_of(u.email), u.id, now(), 'example.com'
          from users u join memberships m on m.user_id = u.id where m.workspace_id = $1`,
        params: [workspaceId],
      },
      { query: `update workspaces set plan = 'free' where id = $1`, params: [workspaceId] },
      { query: 'select app.fund(user_id) from memberships where workspace_id = $1', params: [workspaceId] },
      { query: 'select 1 / count(*) from free_grants where workspace_id = $1', params: [workspaceId] },
    ]),
  )
  expect(read).toBeLessThan(500)
}, 60_000)

interface Claimed {
  what: string
  with: { id: string; key?: string; calls?: { id: string; object_ids?: string[] }[] }
}

/** What a job reads from POST to success: its statements once more, for another job, which is then taken back. */
const readByJob = async (tenant: Tenant) => {
  const heard: Statement[] = []
  rig.links.database.watch((request) => {
    heard.push(...statementsOf(request).filter(({ query }) => query.includes('app.change')))
  })
  const { status, body } = await ask(rig.url, tenant, 'POST', '/generations', {
    body: { task: 'scene', prompt: 'A mug' },
  })
  expect(status, body).toBe(202)
  // `as`: what a claim of the Worker's says.
  const claims = () => heard.map(({ params }) => JSON.parse(String(params[0])) as Claimed)
  await expect
    .poll(() => claims().map(({ what }) => what), { timeout: 10_000 })
    .toEqual(['accept', 'claim', 'settle'])
  rig.links.database.watch(undefined)
  const fresh = new Map<string, string>()
  for (const { id, key, calls = [] } of claims().map((claim) => claim.with)) {
    for (const one of [id, key ?? id, ...calls.flatMap((call) => [call.id, ...(call.object_ids ?? [])])]) {
      fresh.set(one, crypto.randomUUID())
    }
  }
  const { GATE_KEY = '' } = rig.stack.settings
  const again = heard.map(({ query, params }) => {
    const claim = [...fresh].reduce((text, [one, other]) => text.replaceAll(one, other), String(params[0]))
    return { query, params: [claim, hash('sha256', GATE_KEY + claim + GATE_KEY)] }
  })
  return countRead(replayer, again)
}

test('a job reads as much where thousands were made before', async () => {
  await asOwner(rig, `update generations set status = 'canceled' where status in ('queued', 'running')`)
  // Those who stood in line are out of its index, too.
  await asOwner(rig, 'vacuum generations')
  const [least, most] = [await readByJob(empty), await readByJob(large)]
  // Of its two endpoints each is told thrice.
  expect(most, `${least} in an empty workspace`).toBeLessThan(least + 100)
}, 60_000)
