/** A deleted workspace: found and restored by its owners for 30 days, and by nobody else. */
import { v7 as uuidv7 } from 'uuid'
import { expect, test } from 'vitest'
import { tally, times } from '../support/at-once.ts'
import { createClient, type Page } from '../support/client.ts'
import { control } from '../support/control.ts'
import { asOwner, holdRow } from '../support/database.ts'
import { finished, generate } from '../support/generations.ts'
import { scene } from '../support/pictures.ts'
import { addMember, NOBODY, newKey, newTenant, type Tenant } from '../support/tenants.ts'
import { sendDirectly } from '../support/uploads.ts'
import { waitFor } from '../support/wait-for.ts'

const restore = ({ client }: Pick<Tenant, 'client'>, id: string) =>
  client.post<{ deletedAt: string | null }>(`/workspaces/${id}/restore`)
const deleted = async ({ client }: Pick<Tenant, 'client'>) =>
  (await client.get<Page<{ id: string; deletedAt: string }>>('/workspaces?deleted=true')).body.data
const age = (id: string, by: string) =>
  asOwner('update workspaces set deleted_at = deleted_at - $2::interval where id = $1', [id, by])

test('is there again with its members, files, keys and webhooks, and audited', async () => {
  const tenant = await newTenant()
  const { client, workspaceId, userId } = tenant
  const admin = await addMember(workspaceId, 'admin')
  const { key } = await newKey(client, ['usage.get'])
  const hook = async () =>
    (await client.post<{ id: string }>('/webhooks', { url: 'http://127.0.0.1:9/' })).body.id
  const [on, off] = [await hook(), await hook()]
  await client.patch(`/webhooks/${off}`, { enabled: false })
  const { body: asset } = await client.upload('a.txt', 'some text')
  const pending = await sendDirectly(client, Buffer.from('some text'), { mimeType: 'text/plain' })
  // All of its parts had arrived, and a job was to read it.
  const read = await sendDirectly(client, Buffer.from('more text'), { mimeType: 'text/plain' })
  await asOwner('update uploads set completed_at = now() where id = $1', [read])
  const job = await generate(client)
  await finished(client, job.id)
  expect(await deleted(tenant)).toEqual([])
  const { body: away } = await client.upload('b.txt', 'other text')
  const [{ object_id: objectId } = {}] = await asOwner<{ object_id: string }>(
    `update assets set store = 'fallback' where id = $1 returning object_id`,
    [away.id],
  )
  expect((await client.delete(`/workspaces/${workspaceId}`)).status).toBe(204)
  expect(await deleted(tenant)).toMatchObject([{ id: workspaceId, deletedAt: expect.any(String) }])
  expect(await deleted(admin)).toEqual([])
  expect((await client.get<Page<unknown>>('/workspaces')).body.data).toEqual([])
  expect(await createClient({ token: key }).get('/usage')).toMatchObject({ status: 401 })
  // Its notes come due while nobody is let in.
  await asOwner('update outbox set available_at = now() where workspace_id = $1', [workspaceId])
  await control('cron')
  await waitFor('an upload that may be restored is put off', async () => {
    const soon = `select from outbox where workspace_id = $1 and kind = 'upload.end' and available_at < now() + interval '1 hour'`
    return (await asOwner(soon, [workspaceId])).length === 0
  })

  // Nor has a job that the deletion has not ended yet anybody who comes back to it.
  await asOwner("update generations set status = 'running', completed_at = null where id = $1", [job.id])

  expect(await restore(tenant, workspaceId)).toMatchObject({
    status: 200,
    body: { id: workspaceId, name: 'Test Store', role: 'owner', deletedAt: null },
  })
  expect(await deleted(tenant)).toEqual([])
  expect((await admin.client.get('/usage')).status).toBe(200)
  expect((await createClient({ token: key }).get('/usage')).status).toBe(200)
  const download = (await client.get(`/assets/${asset.id}/download`)).headers.get('location') as string
  expect((await fetch(download)).status).toBe(200)
  const { body: hooks } = await client.get<Page<{ id: string; enabled: boolean }>>('/webhooks')
  expect(Object.fromEntries(hooks.data.map((one) => [one.id, one.enabled]))).toEqual({
    [on]: true,
    [off]: false,
  })
  const owed = await asOwner<{ kind: string; subject_id: string }>(
    `select kind, subject_id from outbox where workspace_id = $1 and kind in ('upload.end', 'upload.check', 'object.move', 'generation')
      order by kind, subject_id`,
    [workspaceId],
  )
  expect(owed).toEqual([
    { kind: 'generation', subject_id: job.id },
    { kind: 'object.move', subject_id: objectId },
    { kind: 'upload.check', subject_id: read },
    { kind: 'upload.end', subject_id: pending },
    { kind: 'upload.end', subject_id: read },
  ])
  expect((await client.post(`/assets/${pending}/complete`)).status).toBe(200)
  const log = await asOwner(
    `select action, actor_id from audit_logs where workspace_id = $1 and action in ('workspace.delete', 'workspace.restore') order by sequence`,
    [workspaceId],
  )
  expect(log).toEqual([
    { action: 'workspace.delete', actor_id: userId },
    { action: 'workspace.restore', actor_id: userId },
  ])
  expect((await client.get('/audit-logs/verify')).body).toMatchObject({ valid: true })
  expect(
    await asOwner(`select from outbox where workspace_id = $1 and kind = 'workspace.delete'`, [workspaceId]),
  ).toEqual([])
  // A message that was on its way removes nothing.
  await control('enqueue', [{ kind: 'workspace.delete', workspaceId, subjectId: workspaceId }])
  await control('cron')
  expect((await client.get(`/assets/${asset.id}`)).status).toBe(200)
  await waitFor('what had arrived to be read', async () => {
    const { body } = await client.get<{ status: string }>(`/assets/${read}`)
    return body.status === 'ready'
  })
})

test('many times at once is once, and what is not deleted stays as it is', async () => {
  const tenant = await newTenant()
  const { client, workspaceId } = tenant
  expect((await restore(tenant, workspaceId)).status).toBe(200)
  await client.delete(`/workspaces/${workspaceId}`)
  expect(tally(await times(5, () => restore(tenant, workspaceId)))).toEqual({ 200: 5 })
  const log = await asOwner(
    `select from audit_logs where workspace_id = $1 and action = 'workspace.restore'`,
    [workspaceId],
  )
  expect(log).toHaveLength(1)
  // Deleted again, it has all of its time again.
  await client.delete(`/workspaces/${workspaceId}`)
  expect(await deleted(tenant)).toHaveLength(1)
})

test('is refused to others, and after 30 days', async () => {
  const tenant = await newTenant()
  const { client, workspaceId } = tenant
  const [admin, stranger] = [await addMember(workspaceId, 'admin'), await newTenant()]
  await client.delete(`/workspaces/${workspaceId}`)
  expect(await restore(stranger, workspaceId)).toMatchObject({ status: 404 })
  expect(await restore(tenant, NOBODY)).toMatchObject({ status: 404 })
  expect(await restore(admin, workspaceId)).toMatchObject({ status: 403, body: { code: 'forbidden' } })
  await age(workspaceId, '29 days')
  expect(await deleted(tenant)).toHaveLength(1)
  await age(workspaceId, '1 day')
  expect(await deleted(tenant)).toEqual([])
  expect(await restore(tenant, workspaceId)).toMatchObject({ status: 404 })
})

test('is refused where ten other free ones have been made since', async () => {
  const tenant = await newTenant()
  await tenant.client.delete(`/workspaces/${tenant.workspaceId}`)
  const made = await times(10, () => tenant.client.post<{ id: string }>('/workspaces', { name: 'x' }))
  expect(tally(made)).toEqual({ 201: 10 })
  expect(await restore(tenant, tenant.workspaceId)).toMatchObject({
    status: 402,
    body: { code: 'plan_limit_reached' },
  })
  await tenant.client.delete(`/workspaces/${made[0]?.body.id}`)
  expect((await restore(tenant, tenant.workspaceId)).status).toBe(200)
})

test('either restored or removed, when both are tried at once', async () => {
  const tenant = await newTenant()
  const { client, workspaceId } = tenant
  await client.upload('a.txt', 'some text')
  await client.delete(`/workspaces/${workspaceId}`)
  await age(workspaceId, '29 days 23:59:59')
  const message = { kind: 'workspace.delete', workspaceId, subjectId: workspaceId }
  const [answer] = await Promise.all([restore(tenant, workspaceId), control('enqueue', [message, message])])
  const rows = async () => (await asOwner('select from assets where workspace_id = $1', [workspaceId])).length
  if (answer.status === 200) {
    await control('cron')
    expect(await rows()).toBe(1)
  } else {
    expect(answer.status).toBe(404)
  }
})

test('is not restored by whoever waited in line until the grace was over', async () => {
  const tenant = await newTenant()
  const { client, workspaceId, userId } = tenant
  await client.upload('a.txt', 'some text')
  await client.delete(`/workspaces/${workspaceId}`)
  await age(workspaceId, '29 days 23:59:58')
  const held = await holdRow('users', userId)
  const restoring = restore(tenant, workspaceId)
  await held.whenWaiting(1)
  await waitFor('the end of the grace', async () => {
    const over = `select from workspaces where id = $1 and deleted_at <= now() - interval '30 days'`
    return (await asOwner(over, [workspaceId])).length === 1
  })
  await held.release()
  expect(await restoring).toMatchObject({ status: 404, body: { code: 'not_found' } })
})

test('owes nothing while it is deleted, whatever it was', async () => {
  const { client, workspaceId } = await newTenant()
  await client.delete(`/workspaces/${workspaceId}`)
  const kinds = ['export', 'object.move', 'object.lost', 'webhook.delete']
  for (const kind of kinds) {
    await asOwner(
      `insert into outbox (workspace_id, kind, subject_id, available_at) values ($1, $2, $3, now() + interval '1 hour')`,
      [workspaceId, kind, NOBODY],
    )
    await control('enqueue', [{ kind, workspaceId, subjectId: NOBODY }])
  }
  await waitFor('nothing is owed', async () => {
    const owed = 'select from outbox where workspace_id = $1 and kind = any($2)'
    return (await asOwner(owed, [workspaceId, kinds])).length === 0
  })
})

test('still owes what was refused while it was being restored', async () => {
  const tenant = await newTenant()
  const { client, workspaceId } = tenant
  const { body: asset } = await client.upload('a.jpg', await scene(1600, 1600).jpeg().toBuffer())
  const id = uuidv7()
  await asOwner(
    `with made as (insert into asset_exports (workspace_id, id, asset_id, channel, output_id) values ($1, $2, $3, 'web', $2))
     insert into outbox (workspace_id, kind, subject_id, available_at) values ($1, 'export', $2, now() + interval '1 hour')`,
    [workspaceId, id, asset.id],
  )
  await client.delete(`/workspaces/${workspaceId}`)
  const held = await holdRow('outbox', id)
  await control('enqueue', [{ kind: 'export', workspaceId, subjectId: id }])
  await held.whenWaiting(1)
  const restoring = restore(tenant, workspaceId)
  // It comes after whoever settles what a deleted workspace owes.
  await Promise.race([restoring, held.whenWaiting(2)])
  await held.release()
  expect(await restoring).toMatchObject({ status: 200 })
  await control('cron')
  await waitFor('the export is made', async () => {
    const { body } = await client.get<Page<{ status: string }>>(`/assets/${asset.id}/exports`)
    return body.data[0]?.status === 'succeeded'
  })
})

test('has deliveries of before still to make, and endpoints to remove', async () => {
  const tenant = await newTenant()
  const { client, workspaceId } = tenant
  const hook = async () =>
    (await client.post<{ id: string }>('/webhooks', { url: 'http://127.0.0.1:9/' })).body.id
  const [kept, removed] = [await hook(), await hook()]
  await asOwner('update webhook_endpoints set deleted_at = now() where id = $1', [removed])
  await asOwner(
    `with made as (
       insert into webhook_deliveries (workspace_id, endpoint_id, url, sequence, payload)
       select $1, $2, 'http://127.0.0.1:9/', i, '{}' from generate_series(1, 2) i returning id, sequence)
     insert into outbox (workspace_id, kind, subject_id, available_at)
     select $1, 'webhook.deliver', id, now() + interval '1 hour' from made`,
    [workspaceId, kept],
  )
  const deliveries = () =>
    asOwner<{ id: string; status: string; error: string | null }>(
      'select id, status, error from webhook_deliveries where workspace_id = $1 order by sequence',
      [workspaceId],
    )
  const send = (id?: string) =>
    control('enqueue', [{ kind: 'webhook.deliver', workspaceId, subjectId: id as string }])
  const [due, later] = await deliveries()
  await client.delete(`/workspaces/${workspaceId}`)
  await send(due?.id)
  await control('enqueue', [{ kind: 'webhook.delete', workspaceId, subjectId: removed }])
  await waitFor('one has failed', async () => (await deliveries())[0]?.status === 'failed')
  expect((await restore(tenant, workspaceId)).status).toBe(200)
  expect(await deliveries()).toMatchObject([
    { status: 'failed', error: 'the endpoint is disabled' },
    { status: 'pending', error: null },
  ])
  await send(later?.id)
  await waitFor('the other is made', async () => (await deliveries())[1]?.error === 'unreachable')
  await control('cron')
  await waitFor('the endpoint is gone', async () => {
    return (await asOwner('select from webhook_endpoints where id = $1', [removed])).length === 0
  })
})
