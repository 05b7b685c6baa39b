/** API keys: for servers, bound to one workspace, allowed some actions. */
import { createHash, randomBytes } from 'node:crypto'
import { and, desc, eq, isNull, lt, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Action } from '../actions.ts'
import type { Ctx, Principal } from '../context.ts'
import { lockWorkspace } from '../credits/ledger.ts'
import { ensure, transact } from '../db/client.ts'
import { apiKeys } from '../db/schema.ts'
import { exists, inWorkspace } from '../db/sql.ts'
import { sha256Hex } from '../hash.ts'

export type ApiKey = typeof apiKeys.$inferSelect

const PREFIX = 'mck_'
const checksum = (secret: string) => createHash('sha256').update(secret).digest('hex').slice(0, 6)

/** `mck_`, 32 random bytes, six digits that let a secret scanner tell a key from noise. */
const newKey = () => {
  const secret = randomBytes(32).toString('base64url')
  return `${PREFIX}${secret}${checksum(secret)}`
}

export const isApiKey = (token: string) => token.startsWith(PREFIX)

/** The caller that a key may stand for, or undefined for what can't be one. */
export const readApiKey = async (key: string): Promise<Principal | undefined> => {
  const [, secret, digits] = /^mck_([\w-]{43})([0-9a-f]{6})$/.exec(key) ?? []
  return secret && checksum(secret) === digits ? { type: 'api_key', hash: await sha256Hex(key) } : undefined
}

/** The answer holds the key itself, for the only time. */
export const createApiKey = async (
  ctx: Ctx,
  input: { name: string; scopes: readonly Action[]; expiresAt?: string | undefined },
): Promise<ApiKey & { key: string }> => {
  const key = newKey()
  const keyHash = await sha256Hex(key)
  const {
    created: [row],
  } = await transact(ctx, (db) => ({
    lock: lockWorkspace(db),
    created: db
      .insert(apiKeys)
      .values({
        id: uuidv7(),
        name: input.name,
        start: key.slice(0, PREFIX.length + 4),
        keyHash,
        scopes: [...new Set(input.scopes)],
        expiresAt: input.expiresAt ? new Date(input.expiresAt) : null,
      })
      .returning(),
  }))
  return { ...(row as ApiKey), key }
}

/** `limit + 1` of the keys that are not revoked, newest first. */
export const listApiKeys = async (
  ctx: Ctx,
  page: { limit: number; cursor?: string | undefined },
): Promise<ApiKey[]> => {
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select()
      .from(apiKeys)
      .where(
        and(
          inWorkspace(apiKeys),
          isNull(apiKeys.revokedAt),
          page.cursor ? lt(apiKeys.id, page.cursor) : undefined,
        ),
      )
      .orderBy(desc(apiKeys.id))
      .limit(page.limit + 1),
  }))
  return rows
}

/** @throws {AppError} not_found */
export const revokeApiKey = async (ctx: Ctx, id: string): Promise<void> => {
  const isThis = and(inWorkspace(apiKeys), eq(apiKeys.id, id), isNull(apiKeys.revokedAt))
  await transact(ctx, (db) => ({
    found: ensure(db, exists(apiKeys, isThis), 'not_found'),
    revoked: db.update(apiKeys).set({ revokedAt: sql`now()` }).where(isThis),
  }))
}
