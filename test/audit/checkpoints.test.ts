/** Signed checkpoints: what the chain alone cannot show, because whoever owns the database can write it anew. */
import { compactVerify, createLocalJWKSet, type JSONWebKeySet, type JWK, SignJWT } from 'jose'
import pg from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'
import { withClient } from '../../scripts/migrate.ts'
import { times } from '../support/at-once.ts'
import {
  addEntries,
  checkpointAt,
  checkpointsOf,
  newChain,
  recompute,
  rowsOf,
  tamper,
  unbroken,
  verify,
  withoutCheckpoints,
} from '../support/audit.ts'
import { createClient } from '../support/client.ts'
import { control, stack } from '../support/control.ts'
import { newKey, newTenant } from '../support/tenants.ts'
import { claimsOf, secrets } from '../support/tokens.ts'
import { waitFor } from '../support/wait-for.ts'

/** A chain of six with a checkpoint at its head. */
const newSignedChain = async () => {
  const chain = await newChain()
  // Another test's cron may have signed it halfway.
  await tamper(withoutCheckpoints(chain.workspaceId))
  return { ...chain, checkpoint: await checkpointAt(chain.client, 6) }
}

const published = async () =>
  createLocalJWKSet((await createClient().request<JSONWebKeySet>('GET', '/.well-known/jwks.json')).body)

describe('a checkpoint', () => {
  test('is the head of the chain, signed by a published key', async () => {
    const { client, workspaceId, checkpoint, rows } = await newSignedChain()
    expect(checkpoint).toMatchObject({ sequence: 6, hash: rows.at(-1)?.hash, kid: 'local-only-audit' })
    const { payload, protectedHeader } = await compactVerify(checkpoint.signature, await published())
    expect(protectedHeader).toEqual({ alg: 'EdDSA', typ: 'audit-checkpoint', kid: 'local-only-audit' })
    expect(JSON.parse(new TextDecoder().decode(payload))).toEqual({
      workspaceId,
      sequence: 6,
      hash: checkpoint.hash,
      at: checkpoint.createdAt,
    })
    expect(await verify(client)).toEqual(unbroken(6))
  })

  test('is followed by another after a hundred entries, and after a day, once', async () => {
    const { client, workspaceId } = await newSignedChain()
    const sequences = async () => (await checkpointsOf(client)).map(({ sequence }) => sequence)
    await addEntries(workspaceId, 99)
    await times(3, () => control('cron'))
    expect(await sequences()).toEqual([6])
    await addEntries(workspaceId, 1)
    await times(3, () => control('cron'))
    await checkpointAt(client, 106)
    expect(await sequences()).toEqual([106, 6])
    await addEntries(workspaceId, 1)
    await tamper(
      `update audit_heads set checked_at = checked_at - interval '25 hours' where workspace_id = '${workspaceId}'`,
    )
    await checkpointAt(client, 107)
    expect(await sequences()).toEqual([107, 106, 6])
  })

  test('does not wait for a log that is being written to, and comes when it is free', async () => {
    const [busy, idle] = [await newChain(), await newChain()]
    await withClient(stack.adminDatabase, async (writer) => {
      // Another test's cron may sign it before it is held.
      await waitFor('a head that is due and held', async () => {
        await tamper(withoutCheckpoints(busy.workspaceId))
        await writer.query('begin')
        const { rows } = await writer.query<{ due: boolean }>(
          'select checked_sequence = 0 as due from audit_heads where workspace_id = $1 for update',
          [busy.workspaceId],
        )
        if (!rows[0]?.due) await writer.query('rollback')
        return rows[0]?.due
      })
      await tamper(withoutCheckpoints(idle.workspaceId))
      await checkpointAt(idle.client, 6)
      expect(await checkpointsOf(busy.client)).toEqual([])
    })
    await checkpointAt(busy.client, 6)
  })

  test('is listed for admins and keys, page by page', async () => {
    const { client, workspaceId } = await newSignedChain()
    await addEntries(workspaceId, 100)
    await checkpointAt(client, 106)
    const { key } = await newKey(client, ['checkpoint.list'])
    const { body } = await createClient({ token: key }).get('/audit-logs/checkpoints?limit=1')
    expect(body).toMatchObject({ data: [{ sequence: 106 }], nextCursor: expect.any(String) })
    const next = await client.get(`/audit-logs/checkpoints?limit=1&cursor=${body.nextCursor}`)
    expect(next.body).toMatchObject({ data: [{ sequence: 6 }], nextCursor: null })
    const other = await newTenant()
    expect(await checkpointsOf(other.client)).toEqual([])
  })

  test('opens no door, nor does the key that signs it', async () => {
    const { client, checkpoint } = await newSignedChain()
    expect((await client.with({ token: checkpoint.signature }).get('/usage')).status).toBe(401)
    // The Worker refuses to start with a key of another shape.
    const key = JSON.parse(secrets.AUDIT_SIGNING_KEY ?? '{}') as JWK
    const token = await new SignJWT(claimsOf(client.token as string))
      .setProtectedHeader({ alg: 'EdDSA', typ: 'at+jwt', kid: 'local-only-audit' })
      .sign(key)
    expect((await client.with({ token }).get('/usage')).status).toBe(401)
    expect((await client.get('/usage')).status).toBe(200)
  })
})

describe('verification finds', () => {
  test('that everything was deleted, with and without the head and the checkpoints', async () => {
    const { client, workspaceId } = await newSignedChain()
    const here = `where workspace_id = '${workspaceId}'`
    await tamper(`delete from audit_logs ${here}; delete from audit_heads ${here}`)
    const empty = { ...unbroken(0), valid: false, truncated: true }
    expect(await verify(client)).toEqual(empty)
    await tamper(`delete from audit_checkpoints ${here}`)
    expect(await verify(client)).toEqual(empty)
    await tamper(`insert into audit_heads values ('${workspaceId}', 0, '')`)
    expect(await verify(client)).toEqual(empty)
  })

  test('that the last entry was deleted and the head set back', async () => {
    const { client, workspaceId, idAt, rows } = await newSignedChain()
    await tamper(`delete from audit_logs where id = '${idAt(6)}';
      update audit_heads set sequence = 5, hash = '${rows[4]?.hash}' where workspace_id = '${workspaceId}'`)
    expect(await verify(client)).toEqual({ ...unbroken(5), valid: false, truncated: true })
    // Nor does it help that others follow.
    await client.patch(`/workspaces/${workspaceId}`, { name: 'g' })
    await client.patch(`/workspaces/${workspaceId}`, { name: 'h' })
    const sixth = (await rowsOf(workspaceId))[5]
    expect(await verify(client)).toMatchObject({
      valid: false,
      entries: 7,
      brokenAt: sixth?.id,
      verifiedTo: 5,
    })
  })

  test.each([
    ['changed', `update audit_logs set ip = null where sequence = 3 and`],
    ['deleted', `delete from audit_logs where sequence = 3 and`],
  ])('that an entry was %s and all hashes and the head recomputed', async (what, change) => {
    const { client, workspaceId } = await newSignedChain()
    const here = `workspace_id = '${workspaceId}'`
    await tamper(`${change} ${here}`)
    if (what === 'deleted') {
      await tamper(`update audit_logs set sequence = -sequence where sequence > 3 and ${here};
        update audit_logs set sequence = -sequence - 1 where sequence < 0 and ${here}`)
    }
    await tamper(recompute(workspaceId))
    if (what === 'deleted') await client.patch(`/workspaces/${workspaceId}`, { name: 'g' })
    const sixth = (await rowsOf(workspaceId)).at(-1)
    const verdict = { ...unbroken(6), valid: false, brokenAt: sixth?.id, verifiedTo: 5 }
    expect(await verify(client)).toEqual(verdict)
  })

  test.each([
    [
      'with a hash of its own',
      `set hash = (select hash from audit_logs l where l.workspace_id = c.workspace_id and l.sequence = 6)`,
    ],
    ['of another time', `set created_at = created_at - interval '3 years'`],
    [
      'of another place',
      `set sequence = 5, hash = (select hash from audit_logs l where l.workspace_id = c.workspace_id and l.sequence = 5)`,
    ],
    ['with another signature', `set signature = signature || 'A'`],
  ])('a forged checkpoint: %s', async (_, change) => {
    const { client, workspaceId } = await newSignedChain()
    await tamper(`update audit_logs set ip = null where workspace_id = '${workspaceId}' and sequence = 2;
      ${recompute(workspaceId)};
      update audit_checkpoints c ${change} where workspace_id = '${workspaceId}'`)
    expect(await verify(client)).toMatchObject({ valid: false, forgedCheckpoint: expect.any(Number) })
  })

  test("a checkpoint that is another workspace's", async () => {
    const [{ client, workspaceId }, other] = [await newSignedChain(), await newSignedChain()]
    await tamper(`update audit_checkpoints c set (hash, signature, created_at) = (select o.hash, o.signature, o.created_at
      from audit_checkpoints o where o.workspace_id = '${other.workspaceId}') where workspace_id = '${workspaceId}'`)
    expect(await verify(client)).toMatchObject({ valid: false, forgedCheckpoint: 6 })
  })
})

describe('a checkpoint that the customer has kept', () => {
  const against = (signature: string) => `?checkpoint=${signature}`

  test('shows what was rewritten together with the stored ones', async () => {
    const { client, workspaceId, checkpoint } = await newSignedChain()
    await client.patch(`/workspaces/${workspaceId}`, { name: 'g' })
    expect(await verify(client, against(checkpoint.signature))).toEqual({
      ...unbroken(7),
      checkpointMatches: true,
    })
    await tamper(`delete from audit_checkpoints where workspace_id = '${workspaceId}';
      update audit_logs set ip = null where workspace_id = '${workspaceId}' and sequence = 2; ${recompute(workspaceId)}`)
    expect(await verify(client)).toEqual(unbroken(7))
    const rewritten = { ...unbroken(7), valid: false, checkpointMatches: false }
    expect(await verify(client, against(checkpoint.signature))).toEqual(rewritten)
    await tamper(`delete from audit_logs where workspace_id = '${workspaceId}' and sequence > 5;
      update audit_heads h set (sequence, hash) = (select sequence, hash from audit_logs l
        where l.workspace_id = h.workspace_id and l.sequence = 5) where workspace_id = '${workspaceId}'`)
    expect(await verify(client)).toEqual(unbroken(5))
    expect(await verify(client, against(checkpoint.signature))).toEqual({
      ...rewritten,
      ...{ entries: 5, verifiedTo: 5 },
    })
  })

  test('of another workspace is refused before the log is looked at, and such requests count for the limit', async () => {
    const [{ client }, other] = [await newSignedChain(), await newSignedChain()]
    const ask = () => client.get(`/audit-logs/verify${against(other.checkpoint.signature)}`)
    // Whoever looks at any log has to wait.
    const holder = new pg.Client(stack.adminDatabase)
    await holder.connect()
    onTestFinished(() => holder.end())
    await holder.query('begin; lock table audit_logs in access exclusive mode')
    const refused = await ask()
    await holder.query('commit')
    expect(refused).toMatchObject({
      status: 422,
      body: { errors: [{ pointer: '/query/checkpoint', message: 'is of another workspace' }] },
    })
    const statuses = new Set<number>()
    // Ten a minute, of which one comes back in six seconds.
    for (let i = 0; i < 30; i++) statuses.add((await ask()).status)
    expect([...statuses]).toEqual([422, 429])
  })

  test('must be signed, and of this workspace', async () => {
    const [one, other] = [await newSignedChain(), await newSignedChain()]
    const refused = { status: 422, body: { code: 'validation_failed' } }
    for (const signature of [
      'x',
      `${one.checkpoint.signature.slice(0, -8)}AAAAAAAA`,
      one.client.token as string,
      other.checkpoint.signature,
    ]) {
      expect(await one.client.get(`/audit-logs/verify${against(signature)}`)).toMatchObject(refused)
    }
  })
})

test('a long log is verified in pages', async () => {
  const { client, workspaceId } = await newChain()
  await tamper(`insert into audit_logs (workspace_id, sequence, action, actor_type, resource_type)
      select '${workspaceId}', n, 'workspace.update', 'system', 'workspace' from generate_series(7, 20106) n;
    ${recompute(workspaceId)}`)
  const first = await verify(client)
  expect(first).toEqual({ ...unbroken(20_000), next: 20_000 })
  const rest = { ...unbroken(106), verifiedTo: 20_106 }
  expect(await verify(client, '?since=20000')).toEqual(rest)
  const checkpoint = await checkpointAt(client, 20_106)
  await client.patch(`/workspaces/${workspaceId}`, { name: 'g' })
  expect(await verify(client, '?since=20106')).toEqual({ ...unbroken(1), verifiedTo: 20_107 })
  expect(await verify(client, `?checkpoint=${checkpoint.signature}`)).toEqual({
    ...unbroken(20_000),
    next: 20_000,
    checkpointMatches: true,
  })
  await tamper(`update audit_logs set ip = 'x' where workspace_id = '${workspaceId}' and sequence = 20050`)
  expect((await verify(client)).valid).toBe(true)
  expect(await verify(client, '?since=20000')).toMatchObject({ valid: false, verifiedTo: 20_049, next: null })
  expect(await verify(client, '?since=30000')).toMatchObject({ valid: false, truncated: true })
})

test('verification is limited per workspace', async () => {
  const { client } = await newTenant()
  const answers = await times(15, () => client.get('/audit-logs/verify'))
  const passed = answers.filter(({ status }) => status === 200)
  expect(passed.length).toBeGreaterThanOrEqual(10)
  expect(passed.length).toBeLessThanOrEqual(12)
  expect(answers.find(({ status }) => status === 429)?.headers.get('ratelimit-policy')).toContain(
    '"audit-verify";q=10;w=60',
  )
})
