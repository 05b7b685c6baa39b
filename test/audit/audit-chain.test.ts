/** The audit log as evidence: chained, so that every change behind its triggers shows, and exported whole. */
import { describe, expect, test } from 'vitest'
import { times } from '../support/at-once.ts'
import { newChain, rowsOf, tamper, unbroken, verify } from '../support/audit.ts'
import { type Client, listAll } from '../support/client.ts'
import { asOwner } from '../support/database.ts'
import { addMember, invite, newKey, newTenant } from '../support/tenants.ts'

describe('the chain', () => {
  test('has no gaps after many changes at once', async () => {
    const { client, workspaceId } = await newTenant()
    const base = `/workspaces/${workspaceId}`
    const answers = await times(10, (i) =>
      Promise.all([
        client.patch(base, { name: `Store ${i}` }),
        client.upload(`${i}.txt`, 'some text'),
        invite(client, workspaceId),
      ]),
    )
    for (const { status } of answers.flat()) expect(status).toBeLessThan(300)
    const rows = await rowsOf(workspaceId)
    expect(rows.map(({ sequence }) => Number(sequence))).toEqual(Array.from({ length: 31 }, (_, i) => i + 1))
    expect(new Set(rows.map(({ request_id }) => request_id)).size).toBe(31)
    expect(await verify(client)).toEqual(unbroken(31))
  })

  test.each([
    ['an actor', `actor_id = gen_random_uuid()`],
    ['a time', `created_at = created_at - interval '1 second'`],
    ['a value', `after = '{"name": "other"}'`],
    ['an address', `ip = null`],
    ['a hash', `hash = encode(sha256('x'), 'hex')`],
    ['a workspace', `workspace_id = gen_random_uuid()`],
  ])('is broken where %s was changed', async (what, change) => {
    const { client, idAt } = await newChain()
    await tamper(`update audit_logs set ${change} where id = '${idAt(3)}'`)
    const brokenAt = what === 'a workspace' ? idAt(4) : idAt(3)
    expect(await verify(client)).toMatchObject({ valid: false, brokenAt, truncated: false })
  })

  test('is broken at the next row when a row was changed together with its hash', async () => {
    const { client, idAt } = await newChain()
    await tamper(`update audit_logs set ip = null where id = '${idAt(3)}';
      update audit_logs a set hash = app.audit_hash((select hash from audit_logs where id = '${idAt(2)}'), a) where id = '${idAt(3)}'`)
    expect(await verify(client)).toMatchObject({ valid: false, brokenAt: idAt(4) })
  })

  test('shows that rows are missing: in the middle, first, last, or all', async () => {
    const middle = await newChain()
    await tamper(`delete from audit_logs where id = '${middle.idAt(3)}'`)
    expect(await verify(middle.client)).toMatchObject({ valid: false, entries: 5, brokenAt: middle.idAt(4) })
    const first = await newChain()
    await tamper(`delete from audit_logs where id = '${first.idAt(1)}'`)
    expect(await verify(first.client)).toMatchObject({ valid: false, brokenAt: first.idAt(2) })
    const last = await newChain()
    await tamper(`delete from audit_logs where id = '${last.idAt(6)}'`)
    expect(await verify(last.client)).toEqual({
      ...unbroken(5),
      valid: false,
      truncated: true,
    })
    await tamper(`delete from audit_logs where workspace_id = '${last.workspaceId}'`)
    expect(await verify(last.client)).toEqual({ ...unbroken(0), valid: false, truncated: true })
  })

  test('is broken where rows changed places', async () => {
    const { client, idAt } = await newChain()
    const move = (id: string, to: string) => `update audit_logs set sequence = ${to} where id = '${id}'`
    await tamper([move(idAt(3), '-1'), move(idAt(4), '3'), move(idAt(3), '4')].join(';'))
    expect(await verify(client)).toMatchObject({ valid: false, brokenAt: idAt(4) })
  })

  test('is broken where rows were inserted, even with the right hash', async () => {
    const columns = 'workspace_id, action, actor_type, resource_type'
    const insert = (workspaceId: string, id: string, sequence: string) =>
      `insert into audit_logs (id, sequence, ${columns}) values ('${id}', ${sequence}, '${workspaceId}', 'workspace.update', 'system', 'workspace')`
    const unchained = await newChain()
    const [nowhere, end] = [crypto.randomUUID(), crypto.randomUUID()]
    await tamper(insert(unchained.workspaceId, nowhere, 'null'))
    expect(await verify(unchained.client)).toMatchObject({ valid: false, brokenAt: nowhere })
    const { client, workspaceId, idAt } = await newChain()
    await tamper(`${insert(workspaceId, end, '7')};
      update audit_logs a set hash = app.audit_hash((select hash from audit_logs where id = '${idAt(6)}'), a) where id = '${end}'`)
    expect(await verify(client)).toMatchObject({ valid: false, entries: 7, brokenAt: end, truncated: false })
  })
})

describe('the export', () => {
  const read = async (client: Client, query = '') => {
    const response = await client.open(`/audit-logs/export${query}`)
    const chunks = response.body ? await Array.fromAsync(response.body) : []
    const lines = Buffer.concat(chunks).toString().split('\n')
    // Every line ends.
    expect(lines.pop()).toBe('')
    return { response, chunks, entries: lines.map((line) => JSON.parse(line) as { id: string }) }
  }
  const list = (client: Client, filter = '') =>
    listAll<{ id: string }>(client, `/audit-logs?limit=100${filter}`)

  test('has the entries of the list, one a line, under the same filters', async () => {
    const { client, workspaceId, userId } = await newChain()
    const { response, entries } = await read(client)
    expect(response.headers.get('content-type')).toBe('application/x-ndjson')
    expect(response.headers.get('content-disposition')).toContain('attachment')
    expect(response.headers.get('server-timing')).toContain('db;desc="1"')
    expect(entries).toEqual(await list(client))
    const filter = `action=workspace.update&actorId=${userId}&resourceId=${workspaceId}`
    expect((await read(client, `?${filter}`)).entries).toEqual(await list(client, `&${filter}`))
    expect((await read(client, `?actorId=${crypto.randomUUID()}`)).entries).toEqual([])
    const { key } = await newKey(client, ['audit.export'])
    expect((await read(client.with({ token: key }))).entries).toHaveLength(7)
  })

  test('streams more entries than a page holds', async () => {
    const { client, workspaceId } = await newTenant()
    await asOwner(
      `insert into audit_logs (workspace_id, action, actor_type, resource_type, after)
       select $1, 'workspace.update', 'system', 'workspace', jsonb_build_object('name', n) from generate_series(1, 1200) n`,
      [workspaceId],
    )
    const { entries, chunks } = await read(client)
    expect(chunks.length).toBeGreaterThan(1)
    expect(entries).toHaveLength(1201)
    expect(entries).toEqual(await list(client))
    expect(await verify(client)).toMatchObject({ valid: true, entries: 1201 })
  })

  test('is for admins of the workspace, and answers refusals as problem details', async () => {
    const { client, workspaceId } = await newTenant()
    const viewer = await addMember(workspaceId, 'viewer')
    const stranger = (await newTenant()).client.with({ workspaceId })
    const path = '/audit-logs/export'
    expect(await viewer.client.get(path)).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    expect(await stranger.get(path)).toMatchObject({ status: 404, body: { code: 'not_found' } })
    expect(await client.get(`${path}?action=nothing`)).toMatchObject({ status: 422 })
    expect(await client.with({ token: 'x' }).get(path)).toMatchObject({ status: 401 })
  })
})
