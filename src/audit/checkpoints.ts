/** Checkpoints of audit logs: the head of a chain, signed, so that nobody can write another past without it showing. */
import { and, desc, sql } from 'drizzle-orm'
import { CompactSign, compactVerify, createLocalJWKSet, importJWK } from 'jose'
import { z } from 'zod'
import { publicKey } from '../auth/tokens.ts'
import { type Ctx, systemContext } from '../context.ts'
import { transact } from '../db/client.ts'
import { auditCheckpoints } from '../db/schema.ts'
import { afterCursor, inWorkspace, type Page } from '../db/sql.ts'
import type { Env } from '../env.ts'
import { describeError } from '../errors.ts'

export type Checkpoint = typeof auditCheckpoints.$inferSelect

/** What is signed: that the workspace's chain had so many entries, the last with this hash. */
const Claim = z.object({
  workspaceId: z.uuid(),
  sequence: z.int(),
  hash: z.string(),
  /** ISO 8601, milliseconds. */
  at: z.string(),
})
type Claim = z.output<typeof Claim>

/** Keeps other tokens from passing for checkpoints, and checkpoints for access tokens, whatever signed them. */
const TYPE = 'audit-checkpoint'

/** RFC 7517. */
export const checkpointKeySet = (env: Env) => ({
  keys: [env.AUDIT_SIGNING_KEY, ...env.AUDIT_RETIRED_KEYS].map(publicKey),
})

const sign = async (env: Env, claim: Claim): Promise<string> => {
  const { kid } = env.AUDIT_SIGNING_KEY
  return new CompactSign(new TextEncoder().encode(JSON.stringify(claim)))
    .setProtectedHeader({ alg: 'EdDSA', typ: TYPE, kid })
    .sign(await importJWK(env.AUDIT_SIGNING_KEY, 'EdDSA'))
}

/** Verifies signatures with keys that are imported once. What was not signed here is answered with undefined. */
export const createVerifier = (env: Env) => {
  const keySet = createLocalJWKSet(checkpointKeySet(env))
  return async (signature: string): Promise<Claim | undefined> => {
    try {
      const { payload, protectedHeader } = await compactVerify(signature, keySet, { algorithms: ['EdDSA'] })
      if (protectedHeader.typ !== TYPE) return undefined
      return Claim.parse(JSON.parse(new TextDecoder().decode(payload)))
    } catch {
      return undefined
    }
  }
}

/** `limit + 1` checkpoints, newest first. */
export const listCheckpoints = async (ctx: Ctx, page: Page): Promise<Checkpoint[]> => {
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select()
      .from(auditCheckpoints)
      .where(and(inWorkspace(auditCheckpoints), afterCursor(auditCheckpoints.id, page)))
      .orderBy(desc(auditCheckpoints.id))
      .limit(page.limit + 1),
  }))
  return rows
}

/** Workspaces of one transaction. */
const SLICE = 200
/** Of one run; the rest waits for the next. */
const MAX_SLICES = 5

/** SQL: heads without a checkpoint, 100 entries beyond their last one, or beyond one that is a day old; they come by index. */
const dueHeads = sql`
  select workspace_id, sequence, hash from audit_heads
   where waits_since < now() - interval '1 day' order by waits_since limit ${SLICE}`

/**
 * Signs the heads that have moved far enough. Two runs at once sign the same head once.
 * @returns whether the next run has more to do
 */
export const writeCheckpoints = async (env: Env, id: string): Promise<boolean> => {
  const ctx = systemContext(env, { id, waitUntil: null })
  try {
    let count = SLICE
    for (let slices = 0; slices < MAX_SLICES && count === SLICE; slices++) {
      const { due } = await transact(ctx, (db) => ({
        due: db.execute<{ workspace_id: string; sequence: string; hash: string }>(dueHeads),
      }))
      count = due.rows.length
      if (count === 0) return false
      const at = new Date().toISOString()
      const signed = await Promise.all(
        due.rows.map(async ({ workspace_id: workspaceId, sequence, hash }) => {
          const claim = { workspaceId, sequence: Number(sequence), hash, at }
          return { ...claim, signature: await sign(env, claim) }
        }),
      )
      const { written } = await transact(ctx, (db) => ({
        written: db.execute(sql`
          with signed as materialized (
            select s.* from jsonb_to_recordset(${JSON.stringify(signed)}::jsonb)
                as s ("workspaceId" uuid, sequence bigint, hash text, at timestamptz, signature text)
              join audit_heads h on h.workspace_id = s."workspaceId" and h.checked_sequence < s.sequence
               and (h.sequence > s.sequence or (h.sequence, h.hash) = (s.sequence, s.hash))
               -- A head that somebody holds comes next time: nobody waits for another workspace's work.
               for no key update of h skip locked),
          checked as (
            update audit_heads h set checked_sequence = s.sequence, checked_at = s.at
              from signed s where h.workspace_id = s."workspaceId")
          insert into audit_checkpoints (workspace_id, sequence, hash, created_at, signature, kid)
          select "workspaceId", sequence, hash, at, signature, ${env.AUDIT_SIGNING_KEY.kid} from signed
          on conflict do nothing`),
      }))
      ctx.log({ level: 'info', message: 'checkpoints written', count: written.rowCount })
    }
    return count === SLICE
  } catch (error) {
    ctx.log({ level: 'error', message: 'checkpoints not written', error: describeError(error) })
    return false
  }
}
