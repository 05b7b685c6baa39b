/** A receiver of webhooks, and what is sent to it. */
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect } from 'vitest'
import type { Page } from './client.ts'
import { asOwner } from './database.ts'
import { finished, generate } from './generations.ts'
import type { Tenant } from './tenants.ts'

interface Received {
  path: string
  /** The answer is out, or nobody waits for it any more. */
  isOver: boolean
  headers: IncomingHttpHeaders
  body: string
}

const received: Received[] = []
/** What the receiver answers, by path; 204 unless told otherwise. */
export const answers = new Map<string, number>()
/** What the receiver waits for before it answers the next message, by path, and what it answers then. */
const holds = new Map<string, { until: Promise<void>; status: number }>()
const server = createServer(async (request, response) => {
  const body = Buffer.concat(await Array.fromAsync(request)).toString()
  const path = String(request.url)
  const message = { path, isOver: false, headers: request.headers, body }
  response.on('close', () => {
    message.isOver = true
  })
  const hold = holds.get(path)
  holds.delete(path)
  received.push(message)
  await hold?.until
  const status = hold?.status ?? answers.get(path) ?? 204
  response.writeHead(status, status === 302 ? { location: '/elsewhere' } : {}).end()
})
export let base: string

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => server.close())

export const at = (path: string) => received.filter((message) => message.path === path)
export const newPath = () => `/${crypto.randomUUID()}`
/** Has the next message wait for its answer until the returned function is called. */
export const holdAnswer = (path: string, status = 204) => {
  const { promise: until, resolve: answer } = Promise.withResolvers<void>()
  holds.set(path, { until, status })
  return answer
}
export type Endpoint = { id: string; secret: string; enabled: boolean; failingSince: string | null }
export type Deliveries = Page<{
  id: string
  status: string
  attempts: number
  responseStatus: number | null
  error: string | null
  deliveredAt: string | null
}>

/** A delivery that nobody was told of, to this URL of a generation or the tenant's endpoint. */
export const newDelivery = async ({ workspaceId }: Tenant, url: string | null = null) => {
  const [row] = await asOwner<{ id: string }>(
    `insert into webhook_deliveries (workspace_id, endpoint_id, url, sequence, payload)
     select $1, id, url, 1, '{"type":"generation.failed"}' from (
       select id, url from webhook_endpoints where workspace_id = $1 and $2::text is null
       union all select null, $2 where $2 is not null) target
     returning id`,
    [workspaceId, url],
  )
  return row?.id ?? ''
}
export const messageOf = ({ workspaceId }: Tenant, subjectId: string) => ({
  kind: 'webhook.deliver',
  workspaceId,
  subjectId,
})
export const stored = async (id: string) => {
  const [row] = await asOwner<{ status: string; attempts: number; error: string | null }>(
    'select status, attempts, response_status, error from webhook_deliveries where id = $1',
    [id],
  )
  return row
}

export const newEndpoint = async ({ client }: Tenant, path: string, events = ['succeeded']) => {
  const { status, body } = await client.post<Endpoint>('/webhooks', { url: base + path, events })
  expect(status).toBe(201)
  return body
}
/** The newest. */
export const findEndpoint = async ({ client }: Tenant) => {
  const { body } = await client.get<Page<Endpoint>>('/webhooks')
  return body.data[0] as Endpoint
}

/** A job from its start to its end. */
export const runJob = async ({ client }: Tenant, input: object = {}) =>
  finished(client, (await generate(client, input)).id)
