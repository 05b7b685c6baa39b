/**
 * Holds what storage lists against the rows of assets, page by page, once a day: reports objects that nobody needs and assets
 * whose object is gone, and has them mended after some days, unless it is so much that something else must be wrong.
 */
import { sql } from 'drizzle-orm'
import { type Ctx, systemContext } from '../context.ts'
import { transact } from '../db/client.ts'
import { first } from '../db/sql.ts'
import type { Env } from '../env.ts'
import { describeError } from '../errors.ts'
import type { Found, Walk, WalkReport } from '../outbox/messages.ts'
import { sweeperOf } from '../outbox/use.ts'
import { abortParts, listUploads } from './parts.ts'
import {
  bucketOf,
  KEYS,
  type Listed,
  listObjects,
  pathOf,
  readKey,
  STEP_PATIENCE,
  sizeOf,
} from './storage.ts'

/**
 * Milliseconds for which an object may wait for its row, and after which what was found is mended. Longer than anything
 * legitimate lasts: a direct upload 26 hours (`upload.end`), one through the Worker an hour, a generation's outputs its deadline
 * and six hours, an export a day, a copy a minute.
 */
const GRACE = 3 * 24 * 3_600_000
/** Milliseconds of one run; the next goes on. */
const RUN = 10_000
/** Findings of a kind, and their share of what was compared, with which a walk is trusted. */
const MOST = 100
const SHARE = 0.1

const LAST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff'

const begin = (startedAt = Date.now()): Walk => ({
  store: 'home',
  startedAt,
  keys: 0,
  objects: 0,
  withoutRow: [],
  withoutObject: [],
  isDoubtful: false,
})

/** What a key stands for, as the database takes it. */
const entryOf = ({ key, modifiedAt }: Listed, startedAt: number) => {
  const read = readKey(key)
  if (!read) return []
  const { workspaceId, id, isCopy } = read
  const isOld = modifiedAt < startedAt - GRACE
  return [{ key, of: { workspaceId, id }, kind: isCopy ? 'copy' : 'object', isOld }]
}

const toListed = ({ of, kind, isOld }: { of: Found; kind: string; isOld: boolean }) => [
  of.workspaceId,
  of.id,
  kind,
  isOld,
]

/** Of keys in order, where the next page's objects begin; a workspace's copies come after all of its objects. */
const positionAfter = (entries: ReturnType<typeof entryOf>, before: Walk['position']) => {
  const { of, kind } = entries.at(-1) ?? {}
  return of && kind === 'copy' ? { ...of, id: LAST_ID } : (of ?? before)
}

const toArray = (position: Found | undefined) =>
  position ? sql`array[${position.workspaceId}, ${position.id}]::uuid[]` : sql`null::uuid[]`

const compare = async (
  ctx: Ctx,
  listed: (string | boolean)[][],
  { store, startedAt }: Walk,
  { after, until }: { after?: Found | undefined; until?: Found | undefined },
) => {
  const bounds = sql`${toArray(after)}, ${toArray(until)}, to_timestamp(${(startedAt - GRACE) / 1000})`
  const { found } = await transact(ctx, (db) => ({
    found: db.execute<{ without_row: number[]; without_object: Found[]; compared: number }>(
      sql`select * from app.compare_storage(${store}, ${JSON.stringify(listed)}, ${bounds}, ${MOST + 1})`,
    ),
  }))
  return first(found.rows)
}

/** Adds to what was found before, of which more than is trusted is not kept. */
const add = (known: Found[], found: Found[]) => [...known, ...found].slice(0, MOST + 1)

/** Whether its object is gone; a listing that leaves out what is there makes the walk doubtful. @throws {AppError} unavailable */
const isGone = async (ctx: Ctx, walk: Walk, { workspaceId, id }: Found): Promise<boolean> => {
  if ((await sizeOf(bucketOf(ctx.env, walk.store), pathOf(workspaceId, id), STEP_PATIENCE)) === undefined)
    return true
  walk.isDoubtful = true
  ctx.log({ level: 'error', message: 'storage lists less than it has', workspaceId, objectId: id })
  return false
}

/** @returns the walk a page further, and whether it was the last one. @throws {AppError} unavailable */
const comparePage = async (ctx: Ctx, before: Walk): Promise<{ walk: Walk; isLast: boolean }> => {
  const walk = { ...before }
  const bucket = bucketOf(ctx.env, walk.store)
  const { objects, isLast } = await listObjects(bucket, KEYS, walk.after, STEP_PATIENCE)
  const entries = objects.flatMap((one) => entryOf(one, walk.startedAt))
  const position = positionAfter(entries, walk.position)
  const found = await compare(ctx, entries.map(toListed), walk, {
    after: walk.position,
    until: isLast ? undefined : position,
  })
  const withoutRow = found.without_row.flatMap((place) => entries[place] ?? [])
  for (const { key } of withoutRow.slice(0, MOST - walk.withoutRow.length)) {
    ctx.log({ level: 'warn', message: 'object without row', key })
  }
  const withoutObject: Found[] = []
  for (const of of found.without_object) {
    // Of so many it does not matter which.
    if (walk.withoutObject.length + withoutObject.length > MOST || walk.isDoubtful) break
    if (!(await isGone(ctx, walk, of))) continue
    withoutObject.push(of)
    ctx.log({ level: 'warn', message: 'asset without object', workspaceId: of.workspaceId, objectId: of.id })
  }
  const orphans = withoutRow.map(({ of }) => of)
  walk.withoutRow = add(walk.withoutRow, orphans)
  walk.withoutObject = add(walk.withoutObject, withoutObject)
  walk.keys += objects.length
  walk.objects += found.compared
  const last = objects.at(-1)?.key
  if (last !== undefined) walk.after = last
  if (position) walk.position = position
  return { walk, isLast }
}

const isFew = (found: number, compared: number) => found <= MOST && found <= compared * SHARE

/** Aborts what was begun long ago and is owed to nobody any more. @returns how many */
const abortUploads = async (ctx: Ctx, walk: Walk): Promise<number> => {
  const bucket = bucketOf(ctx.env, walk.store)
  const open = (await listUploads(bucket, KEYS, STEP_PATIENCE)).flatMap(({ key, uploadId, startedAt }) => {
    const [entry] = entryOf({ key, modifiedAt: startedAt }, walk.startedAt)
    return entry?.isOld ? [{ ...entry, uploadId }] : []
  })
  if (open.length === 0) return 0
  const nothing = { workspaceId: LAST_ID, id: LAST_ID }
  const listed = open.map((one) => toListed({ ...one, kind: 'parts' }))
  const { without_row: places } = await compare(ctx, listed, walk, { after: nothing, until: nothing })
  const unowed = places.flatMap((place) => open[place] ?? []).slice(0, MOST)
  for (const { key, uploadId } of unowed) {
    ctx.log({ level: 'warn', message: 'parts without upload', key })
    await abortParts(bucket, `/${key}`, uploadId)
  }
  return unowed.length
}

/** Says what was found in a storage, and has it mended if it may be believed. @throws {AppError} unavailable */
const conclude = async (ctx: Ctx, walk: Walk): Promise<WalkReport> => {
  const { store, startedAt, keys, objects, withoutRow, withoutObject } = walk
  // Of the second storage what has come home is most.
  const share = walk.home ? Number.POSITIVE_INFINITY : keys
  const isTrusted =
    !walk.isDoubtful &&
    (walk.home?.isTrusted ?? true) &&
    isFew(withoutRow.length, share) &&
    isFew(withoutObject.length, objects)
  const found = { keys, objects, withoutRow: withoutRow.length, withoutObject: withoutObject.length }
  const aborted = isTrusted ? await abortUploads(ctx, walk) : 0
  if (isTrusted && withoutRow.length + withoutObject.length > 0) {
    const delay = sql`make_interval(secs => ${GRACE / 1000})`
    const note = (kind: string, of: Found[]) =>
      sql`app.note_findings(${kind}, ${JSON.stringify(of)}, ${delay})`
    await transact(ctx, (db) => ({
      noted: db.execute(
        sql`select ${note('object.delete', withoutRow)}, ${note('object.lost', withoutObject)}`,
      ),
    }))
  }
  const message = isTrusted ? 'storage compared' : 'storage compared, and nothing mended: too much is amiss'
  ctx.log({ level: isTrusted ? 'info' : 'error', message, store, ...found, aborted })
  return { startedAt, endedAt: Date.now(), ...found, isTrusted }
}

const sum = (one: WalkReport, other: WalkReport): WalkReport => ({
  startedAt: one.startedAt,
  endedAt: other.endedAt,
  keys: one.keys + other.keys,
  objects: one.objects + other.objects,
  withoutRow: one.withoutRow + other.withoutRow,
  withoutObject: one.withoutObject + other.withoutObject,
  isTrusted: other.isTrusted,
})

/** What comes after the last page of a storage: the second one, or the end. @throws {AppError} unavailable */
const goOn = async (ctx: Ctx, walk: Walk): Promise<Walk | WalkReport> => {
  const report = await conclude(ctx, walk)
  if (walk.home) return sum(walk.home, report)
  return ctx.env.FALLBACK ? { ...begin(walk.startedAt), store: 'fallback', home: report } : report
}

/** Goes on with the walk, if one is due and nobody else does. What fails is logged, and tried again by the next run. */
export const reconcile = async (env: Env, id: string): Promise<void> => {
  const ctx = systemContext(env, { id, waitUntil: null })
  const sweeper = sweeperOf(env)
  const end = Date.now() + RUN
  try {
    const taken = await sweeper.takeWalk()
    if (!taken) return
    const { turn } = taken
    try {
      let walk = taken.walk ?? begin()
      while (Date.now() < end) {
        const page = await comparePage(ctx, walk)
        const next = page.isLast ? await goOn(ctx, page.walk) : page.walk
        if (!(await sweeper.keepWalk(turn, next)) || 'isTrusted' in next) return
        walk = next
      }
    } finally {
      await sweeper.leaveWalk(turn)
    }
  } catch (error) {
    ctx.log({ level: 'error', message: 'storage not compared', error: describeError(error) })
  }
}
