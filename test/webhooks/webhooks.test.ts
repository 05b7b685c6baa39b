/** Outgoing webhooks: signed, retried, resent on demand, disabled after days of failure, and gone with their endpoint. */
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Webhook } from 'standardwebhooks'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Page } from '../support/client.ts'
import { control } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { finished, generate } from '../support/generations.ts'
import { addMember, newTenant, type Tenant } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

interface Received {
  path: string
  headers: IncomingHttpHeaders
  body: string
}

const received: Received[] = []
/** What the receiver answers, by path; 204 unless told otherwise. */
const answers = new Map<string, number>()
const server = createServer(async (request, response) => {
  const body = Buffer.concat(await Array.fromAsync(request)).toString()
  const path = String(request.url)
  received.push({ path, headers: request.headers, body })
  const status = answers.get(path) ?? 204
  response.writeHead(status, status === 302 ? { location: '/elsewhere' } : {}).end()
})
let base: string

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => server.close())

const at = (path: string) => received.filter((message) => message.path === path)
const newPath = () => `/${crypto.randomUUID()}`
type Endpoint = { id: string; secret: string; enabled: boolean; failingSince: string | null }
type Deliveries = Page<{
  id: string
  status: string
  attempts: number
  responseStatus: number | null
  error: string | null
}>

/** A job from its start to its end. */
const runJob = async ({ client }: Tenant, input: object = {}) =>
  finished(client, (await generate(client, input)).id)

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

test('an endpoint is disabled after days of failure, and receives again once it is enabled', async () => {
  const tenant = await newTenant()
  const path = newPath()
  answers.set(path, 410)
  const { body: endpoint } = await tenant.client.post<Endpoint>('/webhooks', {
    url: base + path,
    events: ['succeeded'],
  })
  await asOwner(`update webhook_endpoints set failing_since = now() - interval '4 days' where id = $1`, [
    endpoint.id,
  ])
  await runJob(tenant)
  const find = async () => (await tenant.client.get<{ data: Endpoint[] }>('/webhooks')).body.data[0]
  await waitFor('it is disabled', async () => (await find())?.enabled === false)
  await runJob(tenant)
  expect((await tenant.client.get<Deliveries>('/webhooks/deliveries')).body.data).toHaveLength(1)
  expect(at(path)).toHaveLength(1)
  answers.delete(path)
  const enabled = await tenant.client.patch(`/webhooks/${endpoint.id}`, { enabled: true })
  expect(enabled.body).toMatchObject({ enabled: true, failingSince: null })
  await runJob(tenant)
  await waitFor('it hears again', async () => at(path).length === 2)
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
      `update outbox set available_at = now() where workspace_id = $1 and kind = 'webhook.deliver'
         and (select attempts from webhook_deliveries d where d.id = subject_id) = 1 returning 1`,
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
  expect(await asOwner('select from outbox where workspace_id = $1', [tenant.workspaceId])).toEqual([])
})
