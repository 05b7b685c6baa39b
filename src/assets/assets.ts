/** A workspace's files: find, rename, tag, download, delete. */
import { and, desc, eq, type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../context.ts'
import { change, type Database, read, transact } from '../db/client.ts'
import {
  assetExports,
  assets,
  generationOutputs,
  generations,
  outbox,
  providerJobs,
  uploads,
} from '../db/schema.ts'
import { first, inWorkspace, type Page, rowOf, rowsOf } from '../db/sql.ts'
import { AppError } from '../errors.ts'
import { dispatch } from '../outbox/outbox.ts'
import { assetKinds, assetSources, assetStatuses } from '../words.ts'
import { presignShown } from './presign.ts'

export type Asset = typeof assets.$inferSelect

/** The note in the outbox that an object is to be deleted. */
export const isErasureOf = (id: string) => and(eq(outbox.kind, 'object.delete'), eq(outbox.subjectId, id))

/** SQL: the same before the sweeper has sent it: then the object may be gone. */
export const isUnsentErasureOf = (id: string) => and(isErasureOf(id), eq(outbox.sends, 0))

export interface AssetFilter extends Page {
  kind?: Asset['kind'] | undefined
  source?: Asset['source'] | undefined
  status?: Asset['status'] | undefined
  tag?: string | undefined
  /** ISO 8601; from it on. */
  since?: string | undefined
  /** ISO 8601; before it. */
  until?: string | undefined
  q?: string | undefined
}

/** Newest assets whose names a search looks at; below them it finds by trigrams, or ends where there are none. */
const LOOKED_AT = 500

/** What is open of a filter, unless all is. */
const openTo = ({ kind, source, status, tag }: AssetFilter) =>
  kind || source || status || tag
    ? {
        kinds: kind ? [kind] : assetKinds,
        sources: source ? [source] : assetSources,
        statuses: status ? [status] : assetStatuses,
      }
    : undefined

/** `limit + 1` rows, newest first, and where a search stopped if there may be more. */
export const listAssets = async (ctx: Ctx, filter: AssetFilter) => {
  const { q, limit, cursor, since, until, tag } = filter
  const page = { limit: limit + 1, before: cursor, since, until, tag, ...openTo(filter) }
  if (!q) return { rows: rowsOf(assets, await read(ctx, 'assets', page)), stoppedAt: undefined }
  const pattern = `%${q.replace(/[\\%_]/g, '\\$&')}%`
  const [found] = await read<Found>(ctx, 'matching assets', { ...page, pattern, looked: LOOKED_AT })
  return { rows: rowsOf(assets, found?.listed ?? []), stoppedAt: found?.stopped_at ?? undefined }
}

interface Found {
  listed: Record<string, unknown>[]
  stopped_at: string | null
}

export const oneAsset = (id: string) => and(inWorkspace(assets), eq(assets.id, id))

/** @throws {AppError} not_found */
export const getAsset = async (ctx: Ctx, id: string): Promise<Asset> =>
  rowOf(assets, first(await read(ctx, 'asset', { id })))

/** The asset, what made it, and at which provider, or what it is an export of, if anything did. @throws {AppError} not_found */
export const getLineage = async (ctx: Ctx, id: string) => {
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select({
        asset: assets,
        generation: generations,
        job: providerJobs,
        madeFor: assetExports,
      })
      .from(assets)
      .leftJoin(
        generationOutputs,
        and(eq(generationOutputs.workspaceId, assets.workspaceId), eq(generationOutputs.assetId, assets.id)),
      )
      .leftJoin(
        generations,
        and(
          eq(generations.workspaceId, assets.workspaceId),
          eq(generations.id, generationOutputs.generationId),
        ),
      )
      .leftJoin(
        providerJobs,
        and(
          eq(providerJobs.workspaceId, assets.workspaceId),
          eq(providerJobs.generationId, generations.id),
          // Of whatever became of the call: what is kept at a deadline is of one that was ended.
          sql`${providerJobs.stored} @> jsonb_build_array(jsonb_build_object('index', ${generationOutputs.index}))`,
        ),
      )
      .leftJoin(
        assetExports,
        and(
          eq(assetExports.workspaceId, assets.workspaceId),
          eq(assetExports.outputId, assets.id),
          eq(assetExports.status, 'succeeded'),
        ),
      )
      .where(oneAsset(id))
      .orderBy(desc(providerJobs.id))
      .limit(1),
  }))
  return first(rows)
}

/** @throws {AppError} not_found */
export const updateAsset = async (
  ctx: Ctx,
  id: string,
  changes: { name?: string | undefined; tags?: string[] | undefined },
): Promise<Asset> => {
  const { rows } = await change(ctx, (db) => ({
    rows: db.update(assets).set(changes).where(oneAsset(id)).returning(),
  }))
  return first(rows)
}

/** SQL: of rows that are deleted; `subjects`: what is to be erased of each, its own id only where something lies under that. */
const goneOf = sql`id, status, case when status = 'pending' or prepared is not null
  or exists (select from asset_copies c where c.workspace_id = assets.workspace_id and c.asset_id = assets.id)
  then array[id, object_id] else array[object_id] end as subjects`

/** Deletes rows, and notes that what no other needs is to be deleted then: objects and copies; or what has arrived of an upload. */
export const removeAssets = (db: Database, condition: SQL | undefined, delay = sql`interval '1 minute'`) =>
  db.execute<{ kind: 'object.delete' | 'upload.end'; subject_id: string }>(sql`
    with gone as (delete from ${assets} where ${condition} returning ${goneOf}),
    ended as (update ${uploads} set ends_at = least(ends_at, now())
               where ${inWorkspace(uploads)} and id in (select id from gone where status = 'pending'))
    insert into ${outbox} (kind, subject_id, available_at)
    select case status when 'pending' then 'upload.end' else 'object.delete' end, subject, now() + ${delay}
      from (select distinct status, unnest(subjects) subject from gone) s
    on conflict (workspace_id, kind, subject_id) do update set available_at = excluded.available_at, sends = 0
    returning kind, subject_id`)

/** Deletes the row now, and soon after what no other needs. @throws {AppError} not_found */
export const deleteAsset = async (ctx: Ctx, id: string): Promise<void> => {
  const { gate, owed } = await change(ctx, (db) => ({ owed: removeAssets(db, oneAsset(id)) }))
  first(owed.rows)
  await dispatch(
    ctx,
    owed.rows.map(({ kind, subject_id }) => ({ kind, workspaceId: gate.workspaceId, subjectId: subject_id })),
  )
}

/** One whose file is there. @throws {AppError} not_found, upload_incomplete */
export const getReadyAsset = async (ctx: Ctx, id: string): Promise<Asset> => {
  const asset = await getAsset(ctx, id)
  if (asset.status === 'pending') throw new AppError('upload_incomplete')
  return asset
}

/** A URL of each that may be had, in the order of the ids. */
export const downloadAssets = async (ctx: Ctx, ids: readonly string[], type: 'inline' | 'attachment') => {
  const rows = rowsOf(assets, await read(ctx, 'some assets', { ids }))
  const found = new Map(rows.map((row) => [row.id, row]))
  return Promise.all(
    ids.map(async (id) => {
      const asset = found.get(id)
      if (!asset) return { id, problem: new AppError('not_found') }
      if (asset.status === 'pending') return { id, problem: new AppError('upload_incomplete') }
      return { id, ...(await presignShown(ctx.env, asset, type)) }
    }),
  )
}
