/** Retention: what is old goes by cron, what is young cannot go, and the audit log stays verifiable. */
import { CompactSign, type JWK } from 'jose'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { times } from '../support/at-once.ts'
import {
  addEntries,
  newChain,
  recompute,
  rowsOf,
  tamper,
  unbroken,
  verify,
  withoutCheckpoints,
} from '../support/audit.ts'
import { control, stack } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { finished, generate, ledgerOf } from '../support/generations.ts'
import { newTenant, type Tenant } from '../support/tenants.ts'
import { secrets } from '../support/tokens.ts'
import { waitFor } from '../support/wait-for.ts'

const login = new pg.Client(stack.systemDatabase)
beforeAll(() => login.connect())
afterAll(() => login.end())

/** As the Worker's login, in a transaction that is rolled back unless it is to be kept. */
const asSystem = async <T extends pg.QueryResultRow>(
  statement: string,
  end: 'commit' | 'rollback' = 'rollback',
) => {
  await login.query('begin')
  try {
    return (await login.query<T>(statement)).rows
  } finally {
    await login.query(end)
  }
}
const sqlState = (query: Promise<unknown>) =>
  query.then(
    () => 'no error',
    (error: { code: string }) => error.code,
  )

let tenant: Tenant
/** Of a job that has ended, and of one that has not. */
let ended: string
let open: string

beforeAll(async () => {
  tenant = await newTenant()
  ended = (await generate(tenant.client)).id
  await finished(tenant.client, ended)
  open = crypto.randomUUID()
  await asOwner(
    `insert into generations (workspace_id, id, task, kind, status, model, count, input_asset_ids,
       deadline, deadline_at, credits_reserved, next_step_at)
     select workspace_id, $2, task, kind, 'running', model, count, input_asset_ids,
       deadline, now() + interval '1 day', credits_reserved, now() + interval '1 day' from generations where id = $1`,
    [ended, open],
  )
})

/** What makes a row of each kind with the id or number `$1` that is `$2` old, and what it is found by. */
const rows: Record<string, { table: string; make: string; keep: string; young: string }> = {
  'a revoked session': {
    table: 'sessions',
    make: `insert into sessions (id, user_id, refresh_hash, expires_at, revoked_at)
           select $1, user_id, $1, now() + interval '1 year', now() - $2::interval from mine`,
    keep: '30 days',
    young: '29 days',
  },
  'an expired session': {
    table: 'sessions',
    make: `insert into sessions (id, user_id, refresh_hash, expires_at) select $1, user_id, $1, now() - $2::interval from mine`,
    keep: '30 days',
    young: '-1 day',
  },
  'an account that nobody can enter': {
    table: 'users',
    make: `insert into users (id, updated_at) select $1, now() - $2::interval from mine`,
    keep: '30 days',
    young: '29 days',
  },
  'a used token': {
    table: 'spent_tokens',
    make: `insert into spent_tokens (token_hash, expires_at) select $1, now() - $2::interval from mine`,
    keep: '300 seconds',
    young: '4 minutes',
  },
  'an accepted invite': {
    table: 'invites',
    make: `insert into invites (workspace_id, id, email, role, token_hash, expires_at, accepted_at)
           select workspace_id, $1, 'a@example.com', 'viewer', $1, now() + interval '1 day', now() - $2::interval from mine`,
    keep: '30 days',
    young: '29 days',
  },
  'an expired invite': {
    table: 'invites',
    make: `insert into invites (workspace_id, id, email, role, token_hash, expires_at)
           select workspace_id, $1, 'a@example.com', 'viewer', $1, now() - $2::interval from mine`,
    keep: '30 days',
    young: '-1 day',
  },
  'a revoked key': {
    table: 'api_keys',
    make: `insert into api_keys (workspace_id, id, name, start, key_hash, scopes, revoked_at)
           select workspace_id, $1, 'x', 'x', $1, '{}', now() - $2::interval from mine`,
    keep: '1 year',
    young: '364 days',
  },
  'a delivery that ended': {
    table: 'webhook_deliveries',
    make: `insert into webhook_deliveries (workspace_id, id, url, sequence, payload, status, ended_at)
           select workspace_id, $1, 'http://127.0.0.1:9/', 1, '{}', 'failed', now() - $2::interval from mine`,
    keep: '30 days',
    young: '29 days',
  },
  'a mail': {
    table: 'mails',
    make: `insert into mails (id, kind, recipient, status, created_at)
           select $1, 'verify', 'a@example.com', 'sent', now() - $2::interval from mine`,
    keep: '30 days',
    young: '29 days',
  },
  'an address that takes no mail': {
    table: 'bounces',
    make: `insert into bounces (address, reason, created_at) select $1, 'x', now() - $2::interval from mine`,
    keep: '30 days',
    young: '29 days',
  },
  'what is kept of an erased account': {
    table: 'erased_accounts',
    make: `insert into erased_accounts (account_hash, erased_at) select $1, now() - $2::interval from mine`,
    keep: '90 days',
    young: '89 days',
  },
  'an audit row without a workspace': {
    table: 'audit_logs',
    make: `insert into audit_logs (id, workspace_id, action, actor_type, resource_type, resource_id)
           select app.uuid_at(now() - $2::interval), null, 'session.refuse', 'user', 'user', $1::uuid from mine`,
    keep: '90 days',
    young: '89 days',
  },
}

/** Adds a row of that age, which the sweeper may prune at any moment. @returns whether it is there */
const make = async (kind: string, age: string) => {
  const { table, make: statement } = rows[kind] as (typeof rows)[string]
  const id = crypto.randomUUID()
  const mine = `with mine as (select '${tenant.workspaceId}'::uuid workspace_id, '${tenant.userId}'::uuid user_id)`
  const typed = statement.replaceAll('$1::uuid', `'${id}'::uuid`).replaceAll('$1', `'${id}'`)
  expect(await asOwner(`${mine} ${typed.replaceAll('$2', `'${age}'`)} returning 1`)).toHaveLength(1)
  const columns = {
    audit_logs: 'resource_id',
    spent_tokens: 'token_hash',
    bounces: 'address',
    erased_accounts: 'account_hash',
  }
  const by = columns[table as keyof typeof columns] ?? 'id'
  return async () => (await asOwner(`select from ${table} where ${by} = $1`, [id])).length === 1
}

/** Other tests' rows may come first. */
const gone = (what: string, isThere: () => Promise<boolean>) =>
  waitFor(`${what} is pruned`, async () => {
    await control('cron')
    return !(await isThere())
  })

test.each(Object.entries(rows))(
  '%s goes when its time is over, not before',
  async (kind, { keep, young }) => {
    const old = await make(kind, `${keep} 1 minute`)
    const kept = await make(kind, young)
    await gone(kind, old)
    expect(await kept()).toBe(true)
  },
)

test('a delivery that is pending stays, however old', async () => {
  const id = crypto.randomUUID()
  await asOwner(
    `insert into webhook_deliveries (workspace_id, id, url, sequence, payload, created_at)
     values ($1, $2, 'http://127.0.0.1:9/', 1, '{}', now() - interval '1 year')`,
    [tenant.workspaceId, id],
  )
  await gone('another', await make('a delivery that ended', '31 days'))
  expect(await asOwner('select from webhook_deliveries where id = $1', [id])).toHaveLength(1)
})

test('an account with a way in, or in a workspace, stays without an address, too', async () => {
  const ids = times(4, async (i) => {
    const id = crypto.randomUUID()
    await asOwner(`insert into users (id, updated_at) values ($1, now() - interval '1 year')`, [id])
    const own = [
      `insert into accounts (provider, provider_account_id, user_id) values ('google', $1::text, $1::uuid)`,
      `insert into passkeys (id, user_id, name, credential_id, public_key, counter, transports, backed_up)
       values ($1, $1::uuid, 'x', $1::text, 'x', 0, '{}', false)`,
      `insert into sessions (id, user_id, refresh_hash, expires_at) values ($1, $1::uuid, $1::text, now() - interval '1 day')`,
      `insert into memberships (workspace_id, user_id, role) values ('${tenant.workspaceId}', $1, 'viewer')`,
    ]
    await asOwner(own[i] as string, [id])
    return id
  })
  const kept = await ids
  const gonner = crypto.randomUUID()
  await asOwner(`insert into users (id, updated_at) values ($1, now() - interval '1 month')`, [gonner])
  const there = (some: string[]) => asOwner('select id from users where id = any($1)', [some])
  await gone('another', async () => (await there([gonner])).length === 1)
  expect(await there(kept)).toHaveLength(4)
  const audit = `select actor_type from audit_logs where action = 'user.erase' and resource_id = $1`
  expect(await asOwner(audit, [gonner])).toEqual([{ actor_type: 'system' }])
})

test('events go after 30 days, but not of a job that has not ended', async () => {
  const events = (id: string) =>
    asOwner<{ type: string }>('select type from generation_events where generation_id = $1', [id])
  await asOwner(
    `update generation_events set created_at = now() - interval '31 days' where generation_id = any($1) and type <> 'succeeded'`,
    [[ended, open]],
  )
  await gone('the events', async () => (await events(ended)).length > 1)
  expect(await events(ended)).toEqual([{ type: 'succeeded' }])
  expect(await events(open)).toEqual([{ type: 'running' }])
})

test('an idempotency key is free again after a day, and the job stays', async () => {
  const ask = (key: string) =>
    tenant.client.post<{ id: string }>(
      '/generations',
      { task: 'scene', prompt: 'x' },
      { 'idempotency-key': key },
    )
  const [old, young] = [crypto.randomUUID(), crypto.randomUUID()]
  const [first, second] = [await ask(old), await ask(young)]
  expect((await ask(old)).body.id).toBe(first.body.id)
  const age = `update idempotency_keys set created_at = now() - $2::interval where generation_id = $1`
  await asOwner(age, [first.body.id, '24 hours 1 minute'])
  await asOwner(age, [second.body.id, '23 hours'])
  const holds = async () => (await asOwner('select from idempotency_keys where key = $1', [old])).length === 1
  await gone('the key', holds)
  const again = await ask(old)
  expect(again.status).toBe(202)
  expect(again.body.id).not.toBe(first.body.id)
  expect((await ask(young)).body.id).toBe(second.body.id)
  expect((await tenant.client.get(`/generations/${first.body.id}`)).status).toBe(200)
})

test('what is kept for the customer stays: jobs and the ledger', async () => {
  const before = await ledgerOf(ended)
  expect(before.length).toBeGreaterThan(0)
  await asOwner(`update generations set created_at = now() - interval '5 years' where id = $1`, [ended])
  await times(2, () => control('cron'))
  expect(await ledgerOf(ended)).toEqual(before)
  expect((await tenant.client.get(`/generations/${ended}`)).status).toBe(200)
})

describe('pruning', () => {
  const age = '31 days'
  const count = async (emails: string) =>
    Number(
      (await asOwner<{ count: string }>('select count(*) from invites where email = $1', [emails]))[0]?.count,
    )
  const makeMany = (email: string, many: number) =>
    asOwner(
      `insert into invites (workspace_id, id, email, role, token_hash, expires_at)
       select $1, gen_random_uuid(), $2, 'viewer', gen_random_uuid(), now() - $4::interval - n * interval '1 second'
         from generate_series(1, $3::int) n`,
      [tenant.workspaceId, email, many, age],
    )

  test('takes the oldest first, a bounded number a run, and two runs at once are harmless', async () => {
    const email = `${crypto.randomUUID()}@example.com`
    await makeMany(email, 6000)
    const run = async () => {
      await control('cron')
      return count(email)
    }
    // While a run of another test's is at it, this one does nothing; and what that takes comes on top.
    await expect.poll(run, { timeout: 20_000 }).toBeLessThanOrEqual(1000)
    await makeMany(email, 500)
    await times(3, () => control('cron'))
    await gone('the rest', async () => (await count(email)) > 0)
  })

  test('leaves what somebody holds for the next run, without waiting', async () => {
    const kept = await make('a revoked session', age)
    const other = await make('a revoked session', age)
    const holder = new pg.Client(stack.adminDatabase)
    await holder.connect()
    try {
      await holder.query(
        `begin; select from sessions where revoked_at < now() - interval '30 days' for update`,
      )
      const [{ count: pruned } = { count: -1 }] = await asSystem<{ count: number }>(
        `select app.prune('sessions', 1000) as count`,
      )
      expect(pruned).toBe(0)
    } finally {
      await holder.end()
    }
    await gone('the one', kept)
    await gone('the other', other)
  })

  test.each([
    ['sessions', 'sessions_end'],
    ['spent_tokens', 'spent_tokens_end'],
    ['invites', 'invites_end'],
    ['api_keys', 'api_keys_end'],
    ['idempotency_keys', 'idempotency_keys_time'],
    ['events', 'generation_events_time'],
    ['deliveries', 'webhook_deliveries_end'],
    ['audit_outside', 'audit_logs_workspace'],
    ['audit_entries', 'audit_logs_pkey'],
    ['audit_checkpoints', 'audit_checkpoints_time'],
  ])('finds %s by the index %s', async (kind, index) => {
    const scans = async () =>
      Number(
        (await asOwner('select idx_scan from pg_stat_user_indexes where indexrelname = $1', [index]))[0]
          ?.idx_scan,
      )
    const before = await scans()
    await login.query('set enable_seqscan = off; set enable_sort = off; set enable_bitmapscan = off')
    await asSystem(`select app.prune('${kind}', 10)`)
    await login.query('reset all; select pg_stat_force_next_flush(); select 1')
    await expect.poll(scans, { timeout: 10_000 }).toBeGreaterThan(before)
  })
})

describe("the Worker's login", () => {
  test('deletes nothing but by app.prune, and by that nothing young', async () => {
    for (const table of [
      'sessions',
      'invites',
      'api_keys',
      'generation_events',
      'webhook_deliveries',
      'audit_logs',
      'audit_checkpoints',
      'generations',
      'credit_entries',
    ]) {
      expect(await sqlState(asSystem(`delete from ${table}`)), table).toBe('42501')
    }
    expect(await sqlState(asSystem('set role app_retention'))).toBe('42501')
    const young = await Promise.all(Object.entries(rows).map(([kind, { young: age }]) => make(kind, age)))
    await addEntries(tenant.workspaceId, 3)
    const entries = (await rowsOf(tenant.workspaceId)).length
    const total = await asSystem<{ table: string; count: string }>(
      `select kind, app.prune(kind, 1000000) from unnest(array['sessions', 'spent_tokens', 'invites', 'api_keys', 'idempotency_keys', 'events',
         'deliveries', 'audit_outside', 'audit_entries', 'audit_checkpoints']) kind`,
      'commit',
    )
    expect(total).toHaveLength(10)
    for (const isThere of young) expect(await isThere()).toBe(true)
    expect(await rowsOf(tenant.workspaceId)).toHaveLength(entries)
    expect(await sqlState(asSystem(`select app.prune('workspaces', 1)`))).not.toBe('no error')
  })
})

describe('the audit log of a workspace', () => {
  /** What the Worker would have signed at that time. */
  const sign = (claim: object) =>
    new CompactSign(new TextEncoder().encode(JSON.stringify(claim)))
      .setProtectedHeader({ alg: 'EdDSA', typ: 'audit-checkpoint', kid: 'local-only-audit' })
      // The Worker refuses to start with a key of another shape.
      .sign(JSON.parse(secrets.AUDIT_SIGNING_KEY ?? '{}') as JWK)

  const addCheckpoint = async (workspaceId: string, sequence: number, days: number) => {
    // By its number: cron may prune while checkpoints are added.
    const hash = String((await rowsOf(workspaceId)).find((row) => Number(row.sequence) === sequence)?.hash)
    const at = new Date(Date.now() - days * 86_400_000).toISOString()
    const signature = await sign({ workspaceId, sequence, hash, at })
    await asOwner(
      `insert into audit_checkpoints (workspace_id, sequence, hash, signature, kid, created_at) values ($1, $2, $3, $4, 'local-only-audit', $5)`,
      [workspaceId, sequence, hash, signature, at],
    )
  }

  /** A chain of six, the first four three years old. */
  const newOldChain = async () => {
    const chain = await newChain()
    const { workspaceId } = chain
    await tamper(`update audit_logs set created_at = created_at - interval '3 years',
        id = overlay(id::text placing left(app.uuid_at(now() - interval '3 years')::text, 13) from 1)::uuid
      where workspace_id = '${workspaceId}' and sequence <= 4; ${recompute(workspaceId)};
      ${withoutCheckpoints(workspaceId)}`)
    expect(await verify(chain.client)).toEqual(unbroken(6))
    const sequences = async () => (await rowsOf(workspaceId)).map(({ sequence }) => Number(sequence))
    return { ...chain, sequences }
  }

  test('goes up to the newest checkpoint that is two years old, and stays verifiable from there', async () => {
    const { client, workspaceId, sequences } = await newOldChain()
    await addCheckpoint(workspaceId, 2, 900)
    await addCheckpoint(workspaceId, 3, 800)
    await addCheckpoint(workspaceId, 5, 10)
    // What is past its life counts no longer, whether it is still there or not.
    const rest = { ...unbroken(3), verifiedTo: 6 }
    expect(await verify(client)).toEqual(rest)
    await gone('the entries', async () => (await sequences()).length > 3)
    expect(await sequences()).toEqual([4, 5, 6])
    const kept = async () =>
      (await client.get<{ data: { sequence: number }[] }>('/audit-logs/checkpoints')).body.data.map(
        ({ sequence }) => sequence,
      )
    await gone('the older checkpoint', async () => (await kept()).includes(2))
    // Cron has added the last one.
    expect((await kept()).sort()).toEqual([3, 5, 6])
    expect(await verify(client)).toEqual(rest)
    expect(await verify(client, '?since=1')).toEqual(rest)
    await client.patch(`/workspaces/${workspaceId}`, { name: 'g' })
    expect(await verify(client)).toEqual({ ...unbroken(4), verifiedTo: 7 })
    await tamper(`delete from audit_logs where workspace_id = '${workspaceId}' and sequence = 4`)
    expect(await verify(client)).toMatchObject({ valid: false, verifiedTo: 3 })
  })

  test('may go as a whole where nothing has been done for years', async () => {
    const { client, workspaceId, sequences } = await newOldChain()
    await tamper(
      `delete from audit_logs where workspace_id = '${workspaceId}' and sequence > 4; ${recompute(workspaceId)}`,
    )
    await addCheckpoint(workspaceId, 4, 900)
    await gone('the entries', async () => (await sequences()).length > 0)
    expect(await verify(client)).toEqual({ ...unbroken(0), verifiedTo: 4 })
  })

  test('stays without such a checkpoint, and where one only says that it is old', async () => {
    const { client, workspaceId, sequences } = await newOldChain()
    await addCheckpoint(workspaceId, 4, 10)
    await times(2, () => control('cron'))
    expect(await sequences()).toHaveLength(6)
    // The Worker's login may write checkpoints, of any time: young entries stay.
    await asSystem(
      `insert into audit_checkpoints (workspace_id, sequence, hash, signature, kid, created_at)
       values ('${workspaceId}', 5, 'x', 'x', 'x', now() - interval '5 years')`,
      'commit',
    )
    await gone('what is old', async () => (await sequences()).length > 2)
    await asSystem(`select app.prune('audit_entries', 1000)`, 'commit')
    expect(await sequences()).toEqual([5, 6])
    expect(await verify(client)).toMatchObject({ valid: false, forgedCheckpoint: 5 })
  })
})
