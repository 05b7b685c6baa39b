/** Exports: what was asked to be made of an asset for channels, and the job that makes it. */
import { and, desc, eq, inArray, not, or, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { type Asset, isUnsentErasureOf, oneAsset } from '../assets/assets.ts'
import type { StoredObject } from '../assets/put.ts'
import { deleteObject } from '../assets/storage.ts'
import type { Ctx, JobCtx } from '../context.ts'
import { change, ensure, transact } from '../db/client.ts'
import { assetExports, assets, outbox } from '../db/schema.ts'
import { afterCursor, exists, first, idOfNow, inWorkspace, type Page } from '../db/sql.ts'
import { toAppError } from '../errors.ts'
import { type Idempotency, isNewKey, noteKey, once } from '../idempotency.ts'
import { dispatch, RESEND_DELAY, settle } from '../outbox/outbox.ts'
import type { Channel, ExportRefusal } from '../words.ts'
import { fitsStorage } from '../workspaces/quotas.ts'
import { makeExport } from './make.ts'

export type Export = typeof assetExports.$inferSelect

/** Seconds that one delivery of the job has. */
const LEASE = 600
/** Seconds after the end of a lease within which the sweeper has sent the job again. */
const RECENTLY = 3600
/** Hours after which what fails, or whoever makes it dies of, is not tried again. */
const PATIENCE = 24

const oneExport = (id: string) => and(inWorkspace(assetExports), eq(assetExports.id, id))
const exportsOf = (assetId: string) => and(inWorkspace(assetExports), eq(assetExports.assetId, assetId))

/**
 * What is to be made, or is being made already; with an idempotency key what the same request began, as it is now.
 * @throws {AppError} not_found, upload_incomplete, storage_quota_exceeded, idempotency_key_reused
 */
export const createExports = (
  ctx: Ctx,
  assetId: string,
  channels: readonly Channel[],
  idempotency?: Idempotency,
) =>
  once(
    ctx,
    idempotency,
    async () => ({ exports: await insert(ctx, assetId, channels, idempotency) }),
    async ({ exportIds }: { exportIds: string[] }) => {
      const { rows } = await transact(ctx, (db) => ({
        found: ensure(db, exists(assets, oneAsset(assetId)), 'not_found'),
        rows: db
          .select()
          .from(assetExports)
          .where(and(exportsOf(assetId), inArray(assetExports.id, exportIds)))
          .orderBy(assetExports.id),
      }))
      return { exports: rows }
    },
  )

const insert = async (
  ctx: Ctx,
  assetId: string,
  channels: readonly Channel[],
  idempotency: Idempotency | undefined,
): Promise<Export[]> => {
  const wanted = [...new Set(channels)].map((channel) => ({
    id: uuidv7(),
    assetId,
    channel,
    outputId: uuidv7(),
  }))
  const ids = wanted.map(({ id }) => id)
  const isAnswer = and(
    exportsOf(assetId),
    or(
      inArray(assetExports.id, ids),
      and(eq(assetExports.status, 'queued'), inArray(assetExports.channel, [...channels])),
    ),
  )
  const { gate, rows } = await change(ctx, (db) => ({
    ...(idempotency && { isNew: isNewKey(db, idempotency) }),
    found: ensure(db, exists(assets, oneAsset(assetId)), 'not_found'),
    isReady: ensure(
      db,
      exists(assets, and(oneAsset(assetId), eq(assets.status, 'ready'))),
      'upload_incomplete',
    ),
    fits: ensure(db, fitsStorage(0), 'storage_quota_exceeded'),
    made: db.insert(assetExports).values(wanted).onConflictDoNothing(),
    owed: db.execute(sql`
      insert into outbox (kind, subject_id, available_at) select 'export', id, now() + ${RESEND_DELAY} from asset_exports
       where ${and(inWorkspace(assetExports), inArray(assetExports.id, ids))}`),
    ...(idempotency && {
      noted: noteKey(
        db,
        idempotency,
        sql`(select jsonb_build_object('exportIds', jsonb_agg(id)) from asset_exports where ${isAnswer})`,
      ),
    }),
    rows: db.select().from(assetExports).where(isAnswer).orderBy(assetExports.id),
  }))
  const { workspaceId } = gate
  const fresh = rows.filter(({ id }) => ids.includes(id))
  await dispatch(
    ctx,
    fresh.map(({ id }) => ({ kind: 'export' as const, workspaceId, subjectId: id })),
  )
  return rows
}

/** `limit + 1` rows, newest first. @throws {AppError} not_found */
export const listExports = async (ctx: Ctx, assetId: string, page: Page): Promise<Export[]> => {
  const { rows } = await transact(ctx, (db) => ({
    found: ensure(db, exists(assets, oneAsset(assetId)), 'not_found'),
    rows: db
      .select()
      .from(assetExports)
      .where(and(exportsOf(assetId), afterCursor(assetExports.id, page)))
      .orderBy(desc(assetExports.id))
      .limit(page.limit + 1),
  }))
  return rows
}

const isOpen = (id: string) => and(oneExport(id), eq(assetExports.status, 'queued'))

/** Takes the job, unless somebody has it or it has ended, and notes that what it stores is deleted unless it becomes an asset. */
const claim = async (ctx: JobCtx, id: string) => {
  const isFree = sql`(${assetExports.leaseExpiresAt} is null or ${assetExports.leaseExpiresAt} < now())`
  const { claimed, open, source } = await change(ctx, (db) => ({
    open: db
      .select({
        heldFor: sql<number | null>`extract(epoch from ${assetExports.leaseExpiresAt} - now())::float8`,
      })
      .from(assetExports)
      .where(isOpen(id)),
    claimed: db
      .update(assetExports)
      .set({ leaseExpiresAt: sql`now() + make_interval(secs => ${LEASE})`, outputId: uuidv7() })
      .where(and(isOpen(id), isFree))
      .returning(),
    note: db.execute(sql`
      insert into outbox (kind, subject_id, available_at) select 'object.delete', output_id, now() + interval '1 hour' from asset_exports
       where ${and(isOpen(id), sql`lease_expires_at = now() + make_interval(secs => ${LEASE})`)}
      on conflict (workspace_id, kind, subject_id) do update set available_at = excluded.available_at, sends = 0`),
    // One that has ended, or whose asset is gone, is owed no more.
    settled: settle(db, 'export', id, not(exists(assetExports, isOpen(id)))),
    source: db
      .select()
      .from(assets)
      .where(
        and(
          inWorkspace(assets),
          sql`${assets.id} = (select asset_id from asset_exports where ${oneExport(id)})`,
        ),
      ),
  }))
  const [row] = claimed
  return { claimed: row && { ...row, source: first(source) }, heldFor: open[0]?.heldFor }
}
type Claim = Export & { source: Asset }

/** SQL: nobody has claimed it since. */
const isHeld = ({ id, outputId }: Claim) => and(isOpen(id), eq(assetExports.outputId, outputId))

/** Ends it as refused; what it stored is deleted by the note. */
const refuse = (ctx: JobCtx, claim: Claim, refusal: ExportRefusal) =>
  change({ ...ctx, action: 'export.finish' }, (db) => ({
    ended: db
      .update(assetExports)
      .set({ status: 'refused', refusal, endedAt: sql`now()` })
      .where(isHeld(claim)),
    settled: settle(db, 'export', claim.id, not(exists(assetExports, isOpen(claim.id)))),
  }))

/** Ends it with an asset. @throws {AppError} storage_quota_exceeded, already_finished, upload_expired */
const succeed = (ctx: JobCtx, claim: Claim, file: StoredObject & { name: string }) => {
  const { id, outputId, createdBy } = claim
  const newId = sql`(select output_id from asset_exports where ${oneExport(id)})`
  return change({ ...ctx, action: 'export.finish' }, (db) => ({
    isOpen: ensure(db, exists(assetExports, isHeld(claim)), 'already_finished'),
    inTime: ensure(db, exists(outbox, isUnsentErasureOf(outputId), 'for update'), 'upload_expired'),
    kept: settle(db, 'object.delete', outputId),
    ended: db
      .update(assetExports)
      .set({ status: 'succeeded', outputId: idOfNow, endedAt: sql`now()` })
      .where(oneExport(id)),
    created: db
      .insert(assets)
      .values({ id: newId, objectId: outputId, ...file, source: 'export', status: 'ready', createdBy }),
    fits: ensure(db, fitsStorage(0), 'storage_quota_exceeded'),
    settled: settle(db, 'export', id),
  }))
}

const isLate = ({ createdAt }: Export) => Date.now() - createdAt.getTime() > PATIENCE * 3_600_000

const giveUp = (ctx: JobCtx, claim: Claim, why: string) =>
  refuse(ctx, claim, { code: 'service_unavailable', detail: `${why} for a day.`, helps: null })

/**
 * The job: makes one export, and is safe to run twice. While storage or Cloudflare Images is away it is tried again.
 * @returns the seconds until whoever holds it must have ended it
 */
export const runExport = async (ctx: JobCtx, id: string): Promise<number | undefined> => {
  const { claimed, heldFor } = await claim(ctx, id)
  if (!claimed) return heldFor ? Math.ceil(heldFor) : undefined
  // Whoever had it lately has not given it back; what was refused while its workspace was deleted is no such thing.
  if (typeof heldFor === 'number' && heldFor > -RECENTLY && isLate(claimed)) {
    await giveUp(ctx, claimed, 'Nobody could finish it')
    return undefined
  }
  try {
    const made = await makeExport(ctx, claimed.source, claimed.channel, claimed.outputId)
    if ('refusal' in made) await refuse(ctx, claimed, made.refusal)
    else await succeed(ctx, claimed, made)
  } catch (thrown) {
    const { code } = toAppError(thrown)
    if (code === 'storage_quota_exceeded') {
      const detail = "The copy does not fit the workspace's storage quota: delete other files first."
      await refuse(ctx, claimed, { code, detail, helps: null })
      // Or else in an hour.
      await deleteObject(ctx.env, ctx.workspaceId, claimed.outputId).catch(() => undefined)
    } else if (isLate(claimed) && !['already_finished', 'not_found'].includes(code)) {
      const isAway = code === 'unavailable'
      await giveUp(ctx, claimed, isAway ? 'Storage or Cloudflare Images was away' : 'It failed each time')
    } else {
      await change(ctx, (db) => ({
        released: db.update(assetExports).set({ leaseExpiresAt: null }).where(isHeld(claimed)),
      })).catch(() => undefined)
      throw thrown
    }
  }
  return undefined
}
