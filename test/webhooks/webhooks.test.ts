/** Outgoing webhooks: signed, retried, resent on demand, disabled when they fail for days, and gone with their endpoint. */
import { Webhook } from 'standardwebhooks'
import { expect, test } from 'vitest'
import { owed } from '../support/assets.ts'
import { tally, times } from '../support/at-once.ts'
import type { Page } from '../support/client.ts'
import { checkNamed } from '../support/contract.ts'
import { control } from '../support/control.ts'
import { asOwner, holdRow, setPlan } from '../support/database.ts'
import { addMember, newTenant } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'
import {
  answers,
  at,
  base,
  type Deliveries,
  type Endpoint,
  findEndpoint,
  holdAnswer,
  messageOf,
  newDelivery,
  newEndpoint,
  newPath,
  runJob,
  stored,
} from '../support/webhooks.ts'

test('an endpoint receives the events that it asked for, signed', async () => {
  const tenant = await newTenant()
  const path = newPath()
  const { body: endpoint } = await tenant.client.post<Endpoint>('/webhooks', {
    url: base + path,
    events: ['running', 'succeeded'],
  })
  expect((await tenant.client.get<{ data: object[] }>('/webhooks')).body.data[0]).not.toHaveProperty('secret')
  const job = await runJob(tenant)
  const messages = await waitFor('two messages', async () => at(path).length >= 2 && at(path))
  const types = messages.map(({ headers, body }) => {
    const payload = new Webhook(endpoint.secret).verify(body, headers as Record<string, string>) as {
      type: string
      data: object
    }
    expect(payload.data).toMatchObject({ generationId: job.id })
    return payload.type
  })
  expect(types.sort()).toEqual(['generation.running', 'generation.succeeded'])
  const log = await waitFor('both are logged', async () => {
    const { body } = await tenant.client.get<Deliveries>('/webhooks/deliveries?status=delivered')
    return body.data.length === 2 && body.data
  })
  expect(log[0]).toMatchObject({ attempts: 1, responseStatus: 204, error: null })
})

test("a job's own URL receives its end, signed with the workspace's secret", async () => {
  const tenant = await newTenant()
  const path = newPath()
  await runJob(tenant, { webhookUrl: base + path })
  const [message] = await waitFor('the message', async () => at(path).length > 0 && at(path))
  const { body } = await tenant.client.get<{ secret: string }>('/webhooks/signing-secret')
  const payload = new Webhook(body.secret).verify(
    String(message?.body),
    message?.headers as Record<string, string>,
  )
  checkNamed('WebhookMessage', payload)
  expect(payload).toMatchObject({
    type: 'generation.succeeded',
    data: { status: 'succeeded', progress: 100 },
  })
  expect(at(path)).toHaveLength(1)
})

test('a delivery that fails stays pending, redirects are not followed, and it is resent on demand', async () => {
  const tenant = await newTenant()
  for (const status of [500, 302]) {
    const path = newPath()
    answers.set(path, status)
    await runJob(tenant, { webhookUrl: base + path })
    const delivery = await waitFor('the first attempt', async () => {
      const { body } = await tenant.client.get<Deliveries>('/webhooks/deliveries?status=pending')
      return body.data.find(({ attempts }) => attempts === 1)
    })
    expect(delivery.error).toMatch(/^answered [35]\d\d$/)
    answers.delete(path)
    expect((await tenant.client.post(`/webhooks/deliveries/${delivery.id}/resend`)).status).toBe(202)
    await waitFor('it is delivered', async () => {
      const { body } = await tenant.client.get<Deliveries>('/webhooks/deliveries?status=delivered')
      return body.data.some(({ id }) => id === delivery.id)
    })
    expect(at(path).map(({ headers }) => headers['webhook-id'])).toEqual([delivery.id, delivery.id])
  }
  expect(at('/elsewhere')).toEqual([])
})

test('what is sent again shows nothing of the time before', async () => {
  const tenant = await newTenant()
  const path = newPath()
  const endpoint = await newEndpoint(tenant, path)
  await runJob(tenant)
  const find = async () => (await tenant.client.get<Deliveries>('/webhooks/deliveries')).body.data[0]
  const becomes = (what: string, is: (delivery: Deliveries['data'][number]) => boolean) =>
    waitFor(what, async () => {
      const delivery = await find()
      return delivery && is(delivery) && delivery
    })
  const delivered = await becomes('it is delivered', ({ status }) => status === 'delivered')
  expect(delivered).toMatchObject({ responseStatus: 204, deliveredAt: expect.any(String) })
  const resend = () => tenant.client.post(`/webhooks/deliveries/${delivered.id}/resend`)
  const fresh = { status: 'pending', attempts: 0, responseStatus: null, error: null, deliveredAt: null }

  answers.set(path, 500)
  expect(await resend()).toMatchObject({ status: 202, body: fresh })
  const failed = await becomes('an attempt has failed', ({ attempts }) => attempts === 1)
  expect(failed).toMatchObject({ status: 'pending', responseStatus: 500, deliveredAt: null })

  await tenant.client.patch(`/webhooks/${endpoint.id}`, { enabled: false })
  // It would fail at once, and leave nothing of how it went before.
  expect(await resend()).toMatchObject({ status: 409, body: { code: 'endpoint_disabled' } })
  expect(await find()).toMatchObject({ attempts: 1, responseStatus: 500 })
})

test('an endpoint is disabled after days of failure, and receives again once it is enabled', async () => {
  const tenant = await newTenant()
  const path = newPath()
  answers.set(path, 500)
  const { body: endpoint } = await tenant.client.post<Endpoint>('/webhooks', {
    url: base + path,
    events: ['succeeded'],
  })
  await asOwner(`update webhook_endpoints set failing_since = now() - interval '4 days' where id = $1`, [
    endpoint.id,
  ])
  await runJob(tenant)
  await waitFor('it is disabled', async () => !(await findEndpoint(tenant)).enabled)
  await runJob(tenant)
  expect((await tenant.client.get<Deliveries>('/webhooks/deliveries')).body.data).toHaveLength(1)
  expect(at(path)).toHaveLength(1)
  answers.delete(path)
  const enabled = await tenant.client.patch(`/webhooks/${endpoint.id}`, { enabled: true })
  expect(enabled.body).toMatchObject({ enabled: true, failingSince: null })
  await runJob(tenant)
  await waitFor('it hears again', async () => at(path).length === 2)
})

test('an endpoint that answers 410 is disabled at once, which the audit log shows', async () => {
  const tenant = await newTenant()
  const path = newPath()
  answers.set(path, 410)
  const endpoint = await newEndpoint(tenant, path)
  await runJob(tenant)
  await waitFor('it is disabled', async () => !(await findEndpoint(tenant)).enabled)
  const { body: log } = await tenant.client.get<Deliveries>('/webhooks/deliveries')
  expect(log.data).toMatchObject([{ status: 'failed', attempts: 1, responseStatus: 410 }])
  const { body: audit } = await tenant.client.get<Page<object>>('/audit-logs?action=webhook.update')
  expect(audit.data).toMatchObject([
    { actor: { type: 'system', id: null }, resourceId: endpoint.id, before: { disabledAt: null } },
  ])
})

test('an endpoint that is disabled during a failing attempt stays so, and what it was owed has failed', async () => {
  const tenant = await newTenant()
  const path = newPath()
  answers.set(path, 500)
  const answer = holdAnswer(path, 500)
  const endpoint = await newEndpoint(tenant, path)
  await runJob(tenant)
  await waitFor('the attempt', async () => at(path).length === 1)
  expect((await tenant.client.patch(`/webhooks/${endpoint.id}`, { enabled: false })).status).toBe(200)
  answer()
  const failed = await waitFor('the delivery has failed', async () => {
    const { body } = await tenant.client.get<Deliveries>('/webhooks/deliveries?status=failed')
    return body.data[0]
  })
  expect(failed).toMatchObject({ attempts: 1, error: 'the endpoint is disabled' })
  expect(await findEndpoint(tenant)).toMatchObject({ enabled: false })
  expect(at(path)).toHaveLength(1)
})

test('another URL does not pay for the failures of the one before', async () => {
  const tenant = await newTenant()
  const path = newPath()
  answers.set(path, 500)
  const endpoint = await newEndpoint(tenant, newPath(), ['failed'])
  await asOwner(`update webhook_endpoints set failing_since = now() - interval '4 days' where id = $1`, [
    endpoint.id,
  ])
  const changed = await tenant.client.patch(`/webhooks/${endpoint.id}`, { url: base + path })
  expect(changed.body).toMatchObject({ failingSince: null })
  const id = await newDelivery(tenant)
  await control('enqueue', [messageOf(tenant, id)])
  await waitFor('the attempt has failed', async () => (await stored(id))?.attempts === 1)
  expect(await findEndpoint(tenant)).toMatchObject({ enabled: true, failingSince: expect.any(String) })
})

test('another URL does not pay for what the one before answers late', async () => {
  const tenant = await newTenant()
  const path = newPath()
  const endpoint = await newEndpoint(tenant, path, ['failed'])
  const id = await newDelivery(tenant)
  const answer = holdAnswer(path, 410)
  await control('enqueue', [messageOf(tenant, id)])
  await waitFor('the attempt', async () => at(path).length === 1)
  await tenant.client.patch(`/webhooks/${endpoint.id}`, { url: base + newPath() })
  answer()
  await waitFor('it is recorded', async () => (await stored(id))?.status === 'failed')
  expect(await findEndpoint(tenant)).toMatchObject({ enabled: true, failingSince: null })
})

test('progress is told to those who ask for it by name', async () => {
  const tenant = await newTenant()
  const [all, named] = [newPath(), newPath()]
  await newEndpoint(tenant, all, [])
  await newEndpoint(tenant, named, ['progress'])
  const job = await runJob(tenant)
  await asOwner('update generations set progress = 50 where id = $1', [job.id])
  const deliveries = await asOwner(
    `select url, payload ->> 'type' as type from webhook_deliveries where workspace_id = $1 order by id`,
    [tenant.workspaceId],
  )
  const typesOf = (path: string) =>
    deliveries.filter(({ url }) => url === base + path).map(({ type }) => type)
  expect(typesOf(all)).toEqual(['generation.queued', 'generation.running', 'generation.succeeded'])
  expect(typesOf(named)).toEqual(['generation.progress'])
})

test('a workspace has ten endpoints at most, also when more are made at once', async () => {
  const tenant = await newTenant()
  const create = () => tenant.client.post<Endpoint>('/webhooks', { url: base + newPath() })
  expect(tally(await times(14, create))).toEqual({ 201: 10, 402: 4 })
  expect(await create()).toMatchObject({ status: 402, body: { code: 'plan_limit_reached' } })
  const { id } = await findEndpoint(tenant)
  expect((await tenant.client.delete(`/webhooks/${id}`)).status).toBe(204)
  expect((await create()).status).toBe(201)
})

test('the sweeper resends a delivery that is due', async () => {
  const tenant = await newTenant()
  const path = newPath()
  answers.set(path, 503)
  await runJob(tenant, { webhookUrl: base + path })
  await waitFor('the first attempt', async () => at(path).length === 1)
  answers.delete(path)
  await waitFor('it is due', async () => {
    const rows = await asOwner(
      `with due as (
         update webhook_deliveries set next_attempt_at = null where workspace_id = $1 and attempts = 1 returning id)
       update outbox set available_at = now() where workspace_id = $1 and subject_id in (select id from due) returning 1`,
      [tenant.workspaceId],
    )
    return rows.length === 1
  })
  await control('cron')
  await waitFor('it is delivered', async () => at(path).length >= 2)
})

test('deletes an endpoint with what it is owed, and answers 404 to other tenants and 403 to low roles', async () => {
  const [tenant, other] = [await newTenant(), await newTenant()]
  const path = newPath()
  answers.set(path, 500)
  const { body: endpoint } = await tenant.client.post<Endpoint>('/webhooks', {
    url: base + path,
    events: ['succeeded'],
  })
  await runJob(tenant)
  await waitFor('the first attempt', async () => {
    const { body } = await tenant.client.get<Deliveries>('/webhooks/deliveries?status=pending')
    return body.data.some(({ attempts }) => attempts === 1)
  })
  expect((await other.client.delete(`/webhooks/${endpoint.id}`)).status).toBe(404)
  expect((await other.client.patch(`/webhooks/${endpoint.id}`, { enabled: false })).status).toBe(404)
  const member = await addMember(tenant.workspaceId, 'member')
  expect((await member.client.get('/webhooks')).status).toBe(403)
  expect((await tenant.client.delete(`/webhooks/${endpoint.id}`)).status).toBe(204)
  expect((await tenant.client.get<Deliveries>('/webhooks/deliveries')).body.data).toEqual([])
  await waitFor('nothing is owed', async () => (await owed(tenant.workspaceId)).length === 0)
})

test('an endpoint with many deliveries is gone at once, and they are removed in the end', async () => {
  const tenant = await newTenant()
  const endpoint = await newEndpoint(tenant, newPath(), ['failed'])
  const [delivery] = await asOwner<{ id: string }>(
    `with delivery as (
       insert into webhook_deliveries (workspace_id, endpoint_id, url, sequence, payload)
       select workspace_id, id, url, n, '{"type":"generation.failed"}'
         from webhook_endpoints, generate_series(1, 1200) n where workspace_id = $1 returning workspace_id, id)
     insert into outbox (workspace_id, kind, subject_id, available_at)
     select workspace_id, 'webhook.deliver', id, now() + interval '1 hour' from delivery returning subject_id as id`,
    [tenant.workspaceId],
  )
  const rowsLeft = async () => {
    const [row] = await asOwner<{ count: number }>(
      'select count(*)::int from webhook_deliveries where workspace_id = $1',
      [tenant.workspaceId],
    )
    return row?.count
  }
  // Whoever removes all of them has to wait for this one.
  const holder = await holdRow('webhook_deliveries', String(delivery?.id))
  expect((await tenant.client.delete(`/webhooks/${endpoint.id}`)).status).toBe(204)
  expect(await rowsLeft()).toBeGreaterThan(0)
  const path = `/webhooks/${endpoint.id}`
  expect((await tenant.client.get<Page<Endpoint>>('/webhooks')).body.data).toEqual([])
  expect((await tenant.client.patch(path, { enabled: true })).status).toBe(404)
  expect((await tenant.client.delete(path)).status).toBe(404)
  expect((await tenant.client.get<Deliveries>('/webhooks/deliveries')).body.data).toEqual([])
  expect((await tenant.client.post(`/webhooks/deliveries/${delivery?.id}/resend`)).status).toBe(404)
  const { body: audit } = await tenant.client.get<Page<object>>('/audit-logs?action=webhook.delete')
  expect(audit.data).toMatchObject([{ resourceId: endpoint.id, before: { deletedAt: null } }])
  await holder.release()
  await waitFor('nothing is owed', async () => (await owed(tenant.workspaceId)).length === 0)
  expect(await rowsLeft()).toBe(0)
  expect(await asOwner('select from webhook_endpoints where id = $1', [endpoint.id])).toEqual([])
})

test.each(['', ' ', 'https://example.com/\u0000', 'https://example.com/\ud800', 'https://', '//example.com'])(
  'answers 422 to the URL %j, wherever one is taken, and keeps nothing',
  async (url) => {
    const { client } = await newTenant()
    const { body: endpoint } = await client.post<{ id: string }>('/webhooks', { url: 'http://127.0.0.1:9/' })
    for (const answer of [
      await client.post('/webhooks', { url }),
      await client.patch(`/webhooks/${endpoint.id}`, { url }),
      await client.post('/generations', { task: 'scene', prompt: 'x', webhookUrl: url }),
    ]) {
      expect(answer).toMatchObject({ status: 422, body: { code: 'validation_failed' } })
    }
    expect((await client.get<{ data: unknown[] }>('/webhooks')).body.data).toHaveLength(1)
    expect((await client.get<{ data: unknown[] }>('/generations')).body.data).toEqual([])
  },
)

test('endpoints, jobs and the workspace itself change at the same time, without a deadlock', async () => {
  const { client, workspaceId } = await newTenant()
  await setPlan(workspaceId, 'enterprise')
  const deadlocks = async () => {
    const [row] = await asOwner<{ n: number }>(
      'select deadlocks::int as n from pg_stat_database where datname = current_database()',
    )
    return row?.n
  }
  const before = await deadlocks()
  const until = Date.now() + 5000
  const statuses = new Set<number>()
  const loop = async (deed: () => Promise<{ status: number }>) => {
    while (Date.now() < until) statuses.add((await deed()).status)
  }
  const endpoint = async () => {
    const { body } = await client.post<{ id: string }>('/webhooks', { url: 'http://127.0.0.1:9/' })
    return client.delete(`/webhooks/${body.id}`)
  }
  const job = async () => {
    const { body } = await client.post<{ id: string }>('/generations', { task: 'scene', prompt: 'x' })
    return client.post(`/generations/${body.id}/cancel`)
  }
  const slug = () => client.patch(`/workspaces/${workspaceId}`, { slug: `s-${crypto.randomUUID()}` })
  await Promise.all([loop(endpoint), loop(endpoint), loop(job), loop(job), loop(slug)])
  expect([...statuses].filter((status) => ![200, 204, 409].includes(status))).toEqual([])
  expect(await deadlocks()).toBe(before)
}, 60_000)
