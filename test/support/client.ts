/** A client of the API under test that holds every answer against the OpenAPI document. */
import { randomBytes, scryptSync } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { parseEnv } from 'node:util'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { type JWK, SignJWT } from 'jose'
import pg from 'pg'
import { v7 as uuidv7 } from 'uuid'
import { expect, inject } from 'vitest'

export const stack = inject('stack')

type Json = Record<string, unknown>
interface OpenApi {
  paths: Record<string, Record<string, OpenApiOperation>>
  components: { schemas: Record<string, Json> }
}
interface OpenApiOperation {
  operationId: string
  security: unknown[]
  'x-role'?: string
  requestBody?: { content: Record<string, { schema: Json }> }
  parameters?: { name: string; in: string; required?: boolean; schema: Json }[]
  responses: Record<string, { content?: Record<string, { schema: Json }>; headers?: Json }>
}

export interface Answer<T = Json> {
  status: number
  headers: Headers
  body: T
}

/** Undeclared fields fail, wherever an object is described by its properties. */
const strict = (schema: unknown, closed = true): unknown => {
  if (Array.isArray(schema)) return schema.map((member) => strict(member))
  if (typeof schema !== 'object' || schema === null) return schema
  const entries = Object.entries(schema).map(([key, value]) => {
    if (key === 'properties') {
      const properties = Object.entries(value as Json).map(([name, property]) => [name, strict(property)])
      return [key, Object.fromEntries(properties)]
    }
    if (key === 'allOf') return [key, (value as unknown[]).map((member) => strict(member, false))]
    return [key, key === 'items' || key === 'anyOf' || key === 'oneOf' ? strict(value) : value]
  })
  const result = Object.fromEntries(entries) as Json
  const isObject = '$ref' in result || 'allOf' in result || 'properties' in result
  if (closed && isObject && !('additionalProperties' in result)) result.unevaluatedProperties = false
  return result
}

export const openApi = (await (await fetch(`${stack.api}/api/v1/openapi.json`)).json()) as OpenApi
const ajv = new Ajv2020({ strict: false })
addFormats.default(ajv)
ajv.addSchema({
  $id: 'openapi',
  components: {
    schemas: Object.fromEntries(
      Object.entries(openApi.components.schemas).map(([name, schema]) => [name, strict(schema, false)]),
    ),
  },
})
const validators = new Map<string, ValidateFunction>()
const validatorOf = (key: string, schema: Json): ValidateFunction => {
  const known = validators.get(key)
  if (known) return known
  const resolved = JSON.parse(
    JSON.stringify(strict(schema)).replaceAll('"#/components', '"openapi#/components'),
  )
  const validator = ajv.compile(resolved)
  validators.set(key, validator)
  return validator
}

const templates = Object.keys(openApi.paths).map((path) => ({
  path,
  pattern: new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+')}$`),
}))
const templateOf = (path: string) =>
  openApi.paths[path] ? path : templates.find(({ pattern }) => pattern.test(path))?.path

/** Every answer, whatever was asked: declared status, content type and fields. */
const checkContract = (method: string, path: string, answer: Answer<unknown>) => {
  expect(answer.headers.get('x-request-id'), 'x-request-id').toBeTruthy()
  expect(answer.headers.get('server-timing')).toMatch(/^db;desc="\d+";dur=\d+, limiter;dur=\d+$/)
  if (answer.status >= 400 && path !== '/health/ready') {
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    expect(answer.body).toMatchObject({
      status: answer.status,
      requestId: answer.headers.get('x-request-id'),
    })
  }
  const template = templateOf(path)
  const operation = template && openApi.paths[template]?.[method.toLowerCase()]
  if (!operation) return
  const declared = operation.responses[answer.status]
  const where = `${method} ${template} ${answer.status}`
  expect(declared, `${where} is declared (${JSON.stringify(answer.body)})`).toBeDefined()
  const schema = Object.values(declared?.content ?? {})[0]?.schema
  if (!schema) return
  const validate = validatorOf(where, schema)
  expect(
    validate(answer.body),
    `${where}: ${ajv.errorsText(validate.errors)} in ${JSON.stringify(answer.body)}`,
  ).toBe(true)
}

const randomIp = () => `198.51.${Math.floor(Math.random() * 256)}.${Math.floor(Math.random() * 256)}`

export const createClient = (options: { token?: string; workspaceId?: string; ip?: string } = {}) => {
  const ip = options.ip ?? randomIp()
  const request = async <T = Json>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<T>> => {
    const isJson =
      body !== undefined &&
      !(body instanceof FormData) &&
      !(body instanceof Uint8Array) &&
      typeof body !== 'string'
    const response = await fetch(stack.api + path, {
      method,
      redirect: 'manual',
      headers: {
        'cf-connecting-ip': ip,
        ...(options.token && { authorization: `Bearer ${options.token}` }),
        ...(options.workspaceId && { 'x-workspace-id': options.workspaceId }),
        ...(isJson && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: isJson ? JSON.stringify(body) : (body as BodyInit) }),
    })
    // A stream of events may never end.
    const isStream = response.headers.get('content-type')?.startsWith('text/event-stream')
    if (isStream) await response.body?.cancel()
    const text = isStream ? '' : await response.text()
    const json = /[/+]json/.test(response.headers.get('content-type') ?? '')
    const answer = {
      status: response.status,
      headers: response.headers,
      body: (json ? JSON.parse(text) : text) as T,
    }
    checkContract(method, path.split('?')[0] as string, answer)
    return answer
  }
  const api = (path: string) => `/api/v1${path}`
  return {
    ...options,
    ip,
    request,
    get: <T = Json>(path: string, headers?: Record<string, string>) =>
      request<T>('GET', api(path), undefined, headers),
    post: <T = Json>(path: string, body?: unknown, headers?: Record<string, string>) =>
      request<T>('POST', api(path), body, headers),
    patch: <T = Json>(path: string, body: unknown) => request<T>('PATCH', api(path), body),
    delete: <T = Json>(path: string) => request<T>('DELETE', api(path)),
    upload: <T = AssetBody>(name: string, bytes: Uint8Array | string) => {
      const form = new FormData()
      form.append('file', new Blob([bytes as BlobPart]), name)
      return request<T>('POST', api('/assets/upload'), form)
    },
    with: (changes: typeof options) => createClient({ ...options, ip, ...changes }),
  }
}

export type Client = ReturnType<typeof createClient>

export interface AssetBody extends Json {
  id: string
  workspaceId: string
  name: string
  mimeType: string
  sha256: string
}

export interface GenerationBody extends Json {
  id: string
  status: string
  attempts: number
  creditsReserved: number
  creditsCharged: number
  outputs: (AssetBody & { url: string })[]
  error?: { code: string; message: string; retryable: boolean }
}

export const PASSWORD = 'correct horse battery staple'
let accounts = 0
export const newEmail = () => `user-${Date.now()}-${process.pid}-${++accounts}@example.com`

/** PASSWORD as the Worker would store it. */
const salt = randomBytes(16)
const base64 = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '')
const passwordHash = `$scrypt$ln=14,r=8,p=5$${base64(salt)}$${base64(scryptSync(PASSWORD, salt, 32, { N: 2 ** 14, r: 8, p: 5, maxmem: 2 ** 26 }))}`
const [signingKey] = JSON.parse(
  parseEnv(await readFile(new URL('../../.dev.vars.example', import.meta.url), 'utf8')).ACCESS_TOKEN_KEYS ??
    '',
) as JWK[]

/** Somebody new, signed in: made by hand, since hashing passwords would be most of what the tests do. */
export const signUp = async () => {
  const email = newEmail()
  const [userId, sessionId] = [uuidv7(), uuidv7()]
  await asOwner(
    `with new_user as (insert into users (id, email, password_hash) values ($1, $2, $3))
     insert into sessions (id, user_id, refresh_hash, expires_at) values ($4, $1, $5, now() + interval '30 days')`,
    [userId, email, passwordHash, sessionId, crypto.randomUUID()],
  )
  const token = await new SignJWT({ sid: sessionId })
    .setProtectedHeader({ alg: 'EdDSA', typ: 'at+jwt', kid: 'local-only' })
    .setIssuer('http://127.0.0.1')
    .setAudience('http://127.0.0.1')
    .setSubject(userId)
    .setIssuedAt()
    .setExpirationTime('15m')
    .sign(signingKey as JWK)
  return { email, userId, client: createClient().with({ token }) }
}

/** Somebody new with a workspace of their own; the client names it. */
export const newTenant = async () => {
  const { client, ...account } = await signUp()
  const { body } = await client.post<{ id: string }>('/workspaces', { name: 'Test Store' })
  return { ...account, workspaceId: body.id, client: client.with({ workspaceId: body.id }) }
}

/** Runs as the database's owner, behind row-level security: for preparing and for looking. */
export const asOwner = async <T extends pg.QueryResultRow>(
  sql: string,
  parameters: unknown[] = [],
): Promise<T[]> => {
  const client = new pg.Client(stack.adminDatabase)
  await client.connect()
  try {
    return (await client.query<T>(sql, parameters)).rows
  } finally {
    await client.end()
  }
}

/** Somebody new in an existing workspace. */
export const addMember = async (workspaceId: string, role: 'viewer' | 'member' | 'admin' | 'owner') => {
  const { client, ...account } = await signUp()
  await asOwner('insert into memberships (workspace_id, user_id, role) values ($1, $2, $3)', [
    workspaceId,
    account.userId,
    role,
  ])
  return { ...account, client: client.with({ workspaceId }) }
}

/** Asks the process that runs the stack. */
export const control = async <T = unknown>(operation: string, argument?: unknown): Promise<T> => {
  const response = await fetch(`${stack.control}/${operation}`, {
    method: 'POST',
    ...(argument !== undefined && { body: JSON.stringify(argument) }),
  })
  if (!response.ok) throw new Error(await response.text())
  return (await response.json()) as T
}

/** Polls until `check` answers something truthy. */
export const waitFor = async <T>(
  what: string,
  check: () => Promise<T | undefined | false>,
  patience = 28_000,
): Promise<T> => {
  for (const started = Date.now(); Date.now() - started < patience; ) {
    const result = await check()
    if (result) return result
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`${what}: not within ${patience} ms`)
}

export const finished = (client: Client, id: string) =>
  waitFor(`generation ${id} finishes`, async () => {
    const { body } = await client.get<GenerationBody>(`/generations/${id}`)
    return ['succeeded', 'failed', 'canceled'].includes(body.status) && body
  })
