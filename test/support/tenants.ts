/** People and workspaces for one test each. */
import { hash, randomBytes, scryptSync } from 'node:crypto'
import { v7 as uuidv7 } from 'uuid'
import { expect } from 'vitest'
import { type Client, createClient } from './client.ts'
import { asOwner } from './database.ts'
import { newClaims, signToken } from './tokens.ts'

export const PASSWORD = 'correct horse battery staple'
/** A well-formed id of nothing and nobody. */
export const NOBODY = '01890000-0000-7000-8000-000000000000'
export type Role = 'viewer' | 'member' | 'admin' | 'owner'

let accounts = 0
/** Each of a domain of its own, since many of one would look farmed. */
export const newEmail = () => `user-${++accounts}@shop-${Date.now()}-${process.pid}-${accounts}.example`

/** PASSWORD as the Worker would store it. */
const salt = randomBytes(16)
const base64 = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '')
const passwordHash = `$scrypt$ln=14,r=8,p=5$${base64(salt)}$${base64(scryptSync(PASSWORD, salt, 32, { N: 2 ** 14, r: 8, p: 5, maxmem: 2 ** 26 }))}`

/** Somebody new who has proved their address, signed in: made by hand, since hashing passwords would be most of what the tests do. */
export const signUp = async () => {
  const email = newEmail()
  const [userId, sessionId] = [uuidv7(), uuidv7()]
  await asOwner(
    `with new_user as (insert into users (id, email, email_verified_at, password_hash) values ($1, $2, now(), $3))
     insert into sessions (id, user_id, refresh_hash, expires_at) values ($4, $1, $5, now() + interval '30 days')`,
    [userId, email, passwordHash, sessionId, crypto.randomUUID()],
  )
  const token = await signToken(newClaims(userId, sessionId))
  return { email, userId, token, client: createClient({ token }) }
}

/** Signs in with a password, from an address of its own. */
export const logIn = (email: string, password = PASSWORD) =>
  createClient().post<{ access_token: string; refresh_token: string }>('/auth/login', { email, password })

/** Somebody new with a workspace of their own; the client names it. */
export const newTenant = async () => {
  const { client, ...account } = await signUp()
  const { body } = await client.post<{ id: string }>('/workspaces', { name: 'Test Store' })
  return { ...account, workspaceId: body.id, client: client.with({ workspaceId: body.id }) }
}
export type Tenant = Awaited<ReturnType<typeof newTenant>>

/** Somebody new in an existing workspace. */
export const addMember = async (workspaceId: string, role: Role) => {
  const { client, ...account } = await signUp()
  await asOwner('insert into memberships (workspace_id, user_id, role) values ($1, $2, $3)', [
    workspaceId,
    account.userId,
    role,
  ])
  return { ...account, client: client.with({ workspaceId }) }
}

export const invite = (by: Client, workspaceId: string, email = newEmail(), role: Role = 'member') =>
  by.post<{ id: string; token: string; [field: string]: unknown }>(`/workspaces/${workspaceId}/invites`, {
    email,
    role,
  })
export const acceptInvite = (by: Client, token: string) => by.post('/workspaces/invites/accept', { token })

/** A key of the caller's workspace, as it is shown once. */
export const newKey = async <T extends { id: string; key: string }>(
  owner: Client,
  scopes: string[],
  changes: object = {},
): Promise<T> => {
  const { status, body } = await owner.post<T>('/api-keys', { name: 'server', scopes, ...changes })
  expect(status, JSON.stringify(body)).toBe(201)
  return body
}

/** A token as if it had been mailed to somebody a moment ago. */
export const newMailToken = async ({ userId, email }: { userId: string; email: string }, kind: string) => {
  const token = randomBytes(32).toString('base64url')
  await asOwner(
    `insert into mails (id, kind, recipient, user_id, status, token_hash, expires_at)
     values ($1, $2, $3, $4, 'sent', $5, now() + interval '1 hour')`,
    [uuidv7(), kind, email, kind === 'reset' ? null : userId, hash('sha256', token)],
  )
  return token
}
