/** Every route of the OpenAPI document, with a body and things of one's own to call it on. */
import { afterAll, expect } from 'vitest'
import { addPasskey, creationOptionsOf, newAuthenticator, requestOptions } from './authenticator.ts'
import type { Answer, Client } from './client.ts'
import { openApi } from './contract.ts'
import { asOwner } from './database.ts'
import { addTotp, beginTotp, codeOf, mfaTokenOf } from './factors.ts'
import { generate } from './generations.ts'
import { formOf } from './send.ts'
import {
  addMember,
  invite,
  logIn,
  NOBODY,
  newEmail,
  newKey,
  newMailToken,
  newTenant,
  PASSWORD,
  signUp,
  type Tenant,
} from './tenants.ts'
import { sendDirectly } from './uploads.ts'

export interface Route {
  name: string
  method: string
  path: string
  isPublic: boolean
  /** Undefined where no workspace matters. */
  role: string | undefined
  /** The workspace is named by header, not by path. */
  byHeader: boolean
  hasBody: boolean
  takesJson: boolean
  /** Of its body. */
  example: object | undefined
  isStream: boolean
  /** Takes a proof of the person that is not old. */
  stepUp: boolean
}

export const routes: Route[] = Object.entries(openApi.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({
    name: operation.operationId,
    method: method.toUpperCase(),
    path,
    isPublic: operation.security.length === 0,
    role: operation['x-role'],
    byHeader: operation.parameters?.some(({ name }) => name === 'X-Workspace-Id') ?? false,
    hasBody: operation.requestBody !== undefined,
    takesJson: operation.requestBody?.content['application/json'] !== undefined,
    example: operation.requestBody?.content['application/json']?.example,
    stepUp: operation['x-step-up'] ?? false,
    isStream: Object.keys(operation.responses[200]?.content ?? {}).some((type) =>
      /ndjson|event-stream/.test(type),
    ),
  })),
)
export const secured = routes.filter(({ isPublic }) => !isPublic)
export const inWorkspace = secured.filter(({ role }) => role !== undefined)

/** Not a stream, of lines or of events, which are read by tests of their own. */
export const readsJson = ({ isStream }: Route) => !isStream

/** What a workspace has, by the part of the path that names it. */
export interface Things {
  workspaces: string
  assets: string
  generations: string
  'api-keys': string
  webhooks: string
  deliveries: string
  sessions: string
  inviteId: string
  userId: string
  email: string
  refreshToken: string
  /** Of an invite to the caller, elsewhere. */
  inviteToken: string
  /** Of an authenticator app that waits to be confirmed. */
  totpCode: string
  passkeys: string
  /** JSON: what a browser has made for the caller, what a passkey has signed, and what completes a sign-in. */
  attestation: string
  assertion: string
  secondStep: string
  /** Of mails to the caller. */
  emailToken: string
  undoToken: string
  resetToken: string
}

const makers: { [Name in keyof Things]: (tenant: Tenant) => Promise<string> } = {
  workspaces: async ({ workspaceId }) => workspaceId,
  assets: async ({ client }) => (await client.upload('file.txt', 'some text')).body.id,
  generations: async ({ client }) => (await generate(client)).id,
  'api-keys': async ({ client }) => (await newKey(client, ['asset.list'])).id,
  webhooks: async ({ client }) =>
    (await client.post<{ id: string }>('/webhooks', { url: 'http://127.0.0.1:9/', events: ['failed'] })).body
      .id,
  deliveries: async ({ workspaceId }) => {
    const id = crypto.randomUUID()
    const at = new Date().toISOString()
    const data = { generationId: id, status: 'failed', progress: 0, at }
    await asOwner(
      `insert into webhook_deliveries (workspace_id, id, url, sequence, payload, status)
       values ($1, $2, 'http://127.0.0.1:9/', 1, $3, 'failed')`,
      [workspaceId, id, { type: 'generation.failed', timestamp: at, data }],
    )
    return id
  },
  sessions: async ({ client }) =>
    (await client.get<{ data: { id: string }[] }>('/auth/sessions')).body.data[0]?.id as string,
  inviteId: async ({ client, workspaceId }) => (await invite(client, workspaceId)).body.id,
  userId: async ({ workspaceId }) => (await addMember(workspaceId, 'member')).userId,
  email: async ({ email }) => email,
  // The caller's own sign-in may take a second step by then.
  refreshToken: async () => (await logIn((await signUp()).email)).body.refresh_token,
  inviteToken: async ({ email }) => {
    const other = await newTenant()
    return (await invite(other.client, other.workspaceId, email)).body.token
  },
  totpCode: async ({ client }) => codeOf((await beginTotp(client)).secret),
  passkeys: async ({ client }) => (await addPasskey(client)).id,
  attestation: async ({ client }) =>
    JSON.stringify(newAuthenticator().create(await creationOptionsOf(client))),
  assertion: async () => {
    const { authenticator } = await addPasskey((await signUp()).client)
    return JSON.stringify(authenticator.get(await requestOptions()))
  },
  secondStep: async () => {
    const { client, email } = await signUp()
    const { secret } = await addTotp(client)
    return JSON.stringify({ mfa_token: await mfaTokenOf(email), code: codeOf(secret) })
  },
  emailToken: (tenant) => newMailToken(tenant, 'verify'),
  undoToken: (tenant) => newMailToken(tenant, 'email_changed'),
  resetToken: (tenant) => newMailToken(tenant, 'reset'),
}

/** What of a body has to be one's own; the rest is the document's example. */
const own: Record<string, (things: Things) => object> = {
  'user.create': () => ({ email: newEmail() }),
  'session.create': ({ email }) => ({ email, password: PASSWORD }),
  'session.confirm': ({ secondStep }) => JSON.parse(secondStep || '{}'),
  'session.assert': ({ assertion }) => ({ passkey: JSON.parse(assertion || '{}') }),
  'passkey.create': ({ attestation }) => ({ passkey: JSON.parse(attestation || '{}') }),
  'session.prove': () => ({ password: PASSWORD }),
  'session.refresh': ({ refreshToken }) => ({ refresh_token: refreshToken }),
  'password.update': () => ({ currentPassword: PASSWORD }),
  'totp.confirm': ({ totpCode }) => ({ code: totpCode }),
  'email.confirm': ({ emailToken }) => ({ token: emailToken }),
  'email.change': () => ({ email: newEmail() }),
  'email.undo': ({ undoToken }) => ({ token: undoToken }),
  'password.reset': ({ email }) => ({ email }),
  'password.confirm': ({ resetToken }) => ({ token: resetToken }),
  'workspace.transfer': ({ userId }) => ({ userId }),
  'invite.create': () => ({ email: newEmail() }),
  'invite.accept': ({ inviteToken }) => ({ token: inviteToken }),
  'asset.links': ({ assets }) => ({ ids: [assets] }),
  'webhook.create': () => ({ url: 'http://127.0.0.1:9/' }),
  'generation.create': () => ({ inputAssetIds: [] }),
  'generation.quote': () => ({ inputAssetIds: [] }),
}

export const bodyOf = ({ name, hasBody, takesJson, example }: Route, things: Things) => {
  if (!hasBody) return undefined
  if (!takesJson) return formOf('file.txt', 'some text')
  if (!example) throw new Error(`${name} has no example in its contract`)
  return { ...example, ...own[name]?.(things) }
}

/** The names of a path's parameters: `{id}` goes by its collection. */
const parametersOf = (path: string) =>
  [...path.matchAll(/([\w-]+)\/\{(\w+)\}/g)].map(
    ([, collection, name]) => [name as string, (name === 'id' ? collection : name) as keyof Things] as const,
  )

export const pathOf = (route: Route, things: Things) =>
  parametersOf(route.path).reduce((path, [name, thing]) => {
    if (!things[thing]) throw new Error(`no sample of ${thing} in these tests`)
    return path.replace(`{${name}}`, things[thing])
  }, route.path)

/** One of everything. */
export const makeThings = async (tenant: Tenant): Promise<Things> => {
  const made = Object.entries(makers).map(async ([name, make]) => [name, await make(tenant)])
  return Object.fromEntries(await Promise.all(made)) as Things
}

/** Only what a route needs, for calls that are to work. */
export const makeThingsFor = async (route: Route, tenant: Tenant): Promise<Things> => {
  const needed = new Set<keyof Things>(parametersOf(route.path).map(([, thing]) => thing))
  const watched = new Proxy({} as Things, { get: (_, name) => needed.add(name as keyof Things) && '' })
  bodyOf(route, watched)
  const things: Record<string, string> = {}
  for (const name of needed) things[name] = await makers[name](tenant)
  // Only an upload goes on.
  if (route.name === 'asset.resume' || route.name === 'asset.complete') {
    things.assets = await sendDirectly(tenant.client, Buffer.from('some text'), { mimeType: 'text/plain' })
  }
  if (route.name === 'totp.delete' || route.name === 'recovery_code.create') await addTotp(tenant.client)
  // Only what ended without a result is tried again.
  if (route.name === 'generation.retry') await tenant.client.post(`/generations/${things.generations}/cancel`)
  // Only what is deleted is restored.
  if (route.name === 'workspace.restore') await tenant.client.delete(`/workspaces/${tenant.workspaceId}`)
  return things as unknown as Things
}

/** A path whose ids are nobody's. */
export const nobodysPathOf = ({ path }: Route) => path.replace(/\{\w+\}/g, NOBODY)

export const send = (client: Client, route: Route, things: Things, headers?: Record<string, string>) =>
  client.request(route.method, pathOf(route, things), bodyOf(route, things), headers)

export const databaseRequestsOf = ({ headers }: Answer<unknown>) =>
  Number(/^db;desc="(\d+)"/.exec(headers.get('server-timing') ?? '')?.[1])

const tried = new Map<string, number>()

/** Exactly this refusal, after this many database requests, and nothing else in it. */
export const expectRefusal = (attack: string, answer: Answer, code: string, databaseRequests: number) => {
  tried.set(attack, (tried.get(attack) ?? 0) + 1)
  const status = {
    unauthorized: 401,
    forbidden: 403,
    step_up_required: 403,
    second_factor_required: 403,
    not_found: 404,
    validation_failed: 422,
  }[code]
  expect(answer, attack).toMatchObject({ status, body: { code } })
  const fields = ['code', 'detail', 'errors', 'requestId', 'status', 'title', 'type']
  expect(fields, attack).toEqual(expect.arrayContaining(Object.keys(answer.body)))
  expect(databaseRequestsOf(answer), `${attack}: database requests`).toBe(databaseRequests)
}

export const reportAttacks = () =>
  afterAll(() => {
    const sum = [...tried.values()].reduce((total, count) => total + count, 0)
    const each = [...tried].map(([attack, count]) => `${attack} ${count}`).join(', ')
    console.log(`${routes.length} routes, ${sum} attacks refused: ${each}`)
  })
