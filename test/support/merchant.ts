/** The client package in tests: every answer that it gets keeps the contract, and what is between it and the API may break. */
import { onTestFinished } from 'vitest'
import { type ClientOptions, MerchantClient } from '../../client/src/index.ts'
import { startLink } from '../../dev/rig/link.ts'
import { readCode } from '../../scripts/inbox.ts'
import type { Client } from './client.ts'
import { checkContract } from './contract.ts'
import { stack } from './control.ts'
import { newEmail, PASSWORD } from './tenants.ts'

/** Of a request that the client makes. */
interface Request {
  method: string
  url: URL
  init: RequestInit
}

/** `fetch` that holds what the API answers, but for streams, against its document. */
const checkedFetch: typeof fetch = async (input, init) => {
  const response = await fetch(input, init)
  const { pathname } = new URL(String(input))
  const type = response.headers.get('content-type') ?? ''
  // Storage is no part of it, and streams may never end.
  if (!pathname.startsWith('/api/') || /event-stream|ndjson/.test(type)) return response
  const text = await response.clone().text()
  const body: unknown = /[/+]json/.test(type) ? JSON.parse(text) : text
  checkContract(init?.method ?? 'GET', pathname, { status: response.status, headers: response.headers, body })
  return response
}

export const merchantOf = ({ token, workspaceId, ip }: Client, options: Partial<ClientOptions> = {}) =>
  new MerchantClient({
    baseUrl: stack.api,
    // Who has a session of their own needs no token.
    ...(options.session ? {} : { token }),
    workspaceId,
    headers: { 'cf-connecting-ip': ip },
    fetch: checkedFetch,
    ...options,
  })

/** A connection to the API that breaks on demand, for one test. */
export const breakable = async () => {
  const link = await startLink(() => [Number(new URL(stack.api).port)])
  onTestFinished(() => link.stop())
  return link
}

/** A `fetch` that tells of its requests first, and may answer itself. */
export const watchedFetch = (watch: (request: Request, count: number) => unknown) => {
  let count = 0
  const watched: typeof fetch = async (input, init = {}) => {
    const request = { method: init.method ?? 'GET', url: new URL(String(input)), init }
    const answer = watch(request, ++count)
    return answer instanceof Response ? answer : checkedFetch(input, init)
  }
  return watched
}

/** At any address; sends each request once. */
export const merchantAt = (baseUrl: string, token?: string) =>
  new MerchantClient({ baseUrl, token, retries: 0 })

/** Somebody new there, with a workspace; whoever is told where their mail is has proved their address, as free credits want it. */
export const newMerchantAt = async (baseUrl: string, inbox?: string) => {
  const account = { email: newEmail(), password: PASSWORD }
  const { access_token: token } = await merchantAt(baseUrl).post('/auth/register', { body: account })
  const client = merchantAt(baseUrl, token)
  if (inbox) {
    await client.post('/auth/email/verify/confirm', { body: { code: await readCode(inbox, account.email) } })
  }
  const { id: workspaceId } = await client.post('/workspaces', { body: { name: 'Test Store' } })
  return { account, token, client, workspaceId }
}
