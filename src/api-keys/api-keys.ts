/** API keys: for servers, bound to one workspace, allowed some actions. */
import { hash, randomBytes } from 'node:crypto'
import { and, desc, eq, gt, isNull, or, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Action } from '../actions.ts'
import type { Ctx, Principal } from '../context.ts'
import { change, ensure, transact } from '../db/client.ts'
import { apiKeys } from '../db/schema.ts'
import { afterCursor, first, inWorkspace, type Page } from '../db/sql.ts'
import { dismissListeners } from '../events/events.ts'
import { keyLimit } from '../workspaces/quotas.ts'

export type ApiKey = typeof apiKeys.$inferSelect

const PREFIX = 'mck_'
const checksum = (secret: string) => hash('sha256', secret).slice(0, 6)

/** `mck_`, 32 random bytes, and six digits by which a secret scanner tells a key from noise. */
const newKey = () => {
  const secret = randomBytes(32).toString('base64url')
  return `${PREFIX}${secret}${checksum(secret)}`
}

export const isApiKey = (token: string) => token.startsWith(PREFIX)

/** The caller that a key stands for if it exists, or undefined for what can't be a key. */
export const readApiKey = (key: string): Principal | undefined => {
  const [, secret, digits] = /^mck_([\w-]{43})([0-9a-f]{6})$/.exec(key) ?? []
  return secret && checksum(secret) === digits ? { type: 'api_key', hash: hash('sha256', key) } : undefined
}

const isInForce = and(
  inWorkspace(apiKeys),
  isNull(apiKeys.revokedAt),
  or(isNull(apiKeys.expiresAt), gt(apiKeys.expiresAt, sql`now()`)),
)

/**
 * The key itself is answered here and never again: only its hash is stored.
 * @throws {AppError} plan_limit_reached
 */
export const createApiKey = async (
  ctx: Ctx,
  input: { name: string; scopes: readonly Action[]; expiresAt?: string | undefined },
): Promise<ApiKey & { key: string }> => {
  const key = newKey()
  const keyHash = hash('sha256', key)
  const hasRoom = sql`(select count(*) from api_keys where ${isInForce}) < ${keyLimit}`
  const { created } = await change({ ...ctx, seals: [keyHash] }, (db) => ({
    room: ensure(db, hasRoom, 'plan_limit_reached'),
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
  return { ...first(created), key }
}

/** `limit + 1` of the keys in force, newest first. */
export const listApiKeys = async (ctx: Ctx, page: Page): Promise<ApiKey[]> => {
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select()
      .from(apiKeys)
      .where(and(isInForce, afterCursor(apiKeys.id, page)))
      .orderBy(desc(apiKeys.id))
      .limit(page.limit + 1),
  }))
  return rows
}

/** @throws {AppError} not_found */
export const revokeApiKey = async (ctx: Ctx, id: string): Promise<void> => {
  const { gate, revoked } = await change(ctx, (db) => ({
    revoked: db
      .update(apiKeys)
      .set({ revokedAt: sql`now()` })
      .where(and(isInForce, eq(apiKeys.id, id)))
      .returning({ hash: apiKeys.keyHash }),
  }))
  await dismissListeners(ctx, [gate.workspaceId], `key:${first(revoked).hash}`)
}
