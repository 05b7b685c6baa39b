/** The end of an account: deleted after some days, in which signing in undoes it (migrations/0010_leaving.sql). */
import { sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx } from '../context.ts'
import { transact } from '../db/client.ts'
import { first } from '../db/sql.ts'
import { AppError } from '../errors.ts'
import { dismissListeners } from '../events/events.ts'
import { dispatchMails } from '../mail/owed.ts'
import { dispatch } from '../outbox/outbox.ts'

interface Ended {
  userId: string
  workspaces: string[]
  keys: { workspaceId: string; hash: string }[]
}

type Left =
  | { refusal: 'last_owner'; orphans: string[] }
  | (Ended & { refusal?: undefined; leavesAt: string; mails: string[] })

/** Names of workspaces in one refusal. */
const NAMED = 5

/** @returns when the caller is deleted, unless they sign in before @throws {AppError} last_owner */
export const leave = async (ctx: Ctx): Promise<Date> => {
  const { left } = await transact(ctx, (db) => ({
    left: db.execute<{ answer: Left }>(sql`select app.leave(${uuidv7()}) as answer`),
  }))
  const { answer } = first(left.rows)
  if (answer.refusal) {
    const names = answer.orphans.slice(0, NAMED).map((name) => `“${name}”`)
    const all = [...names, ...(answer.orphans.length > NAMED ? ['others'] : [])].join(', ')
    throw new AppError(answer.refusal, {
      detail: `You are the last owner of ${all}: make another member an owner, or delete the workspace, first.`,
    })
  }
  dispatchMails(ctx, answer.mails)
  ctx.waitUntil?.(tellFeeds(ctx, answer))
  return new Date(answer.leavesAt)
}

/** Feeds that are told at once. */
const SLICE = 20

/** Of somebody who has left, and of their keys: they may be in many workspaces, and have left whether feeds hear of it or not. */
const tellFeeds = async (ctx: Ctx, { userId, workspaces, keys }: Ended): Promise<void> => {
  const byWorkspace = Map.groupBy(keys, ({ workspaceId }) => workspaceId)
  for (let i = 0; i < workspaces.length; i += SLICE) {
    await Promise.all(
      workspaces.slice(i, i + SLICE).map((id) => {
        const tags = (byWorkspace.get(id) ?? []).map(({ hash }) => `key:${hash}` as const)
        return dismissListeners(ctx, [id], `user:${userId}`, ...tags)
      }),
    )
  }
}

/** The job of that day. Coming twice, early, or after somebody has stayed it does nothing. */
export const eraseUser = async (ctx: Ctx, id: string): Promise<void> => {
  const { erased } = await transact(ctx, (db) => ({
    erased: db.execute<{ answer: { deleted: string[] } }>(sql`select app.erase_user(${id}) as answer`),
  }))
  const { deleted } = first(erased.rows).answer
  await dispatch(
    ctx,
    deleted.map((workspaceId) => ({ kind: 'workspace.delete', workspaceId, subjectId: workspaceId })),
  )
  await dismissListeners(ctx, deleted)
}
