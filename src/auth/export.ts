/** What is known of somebody, as a file for themselves: made by a job, kept for a day (migrations/0010_leaving.sql). */
import { sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { presignExport } from '../assets/presign.ts'
import { deleteExport, putExport } from '../assets/storage.ts'
import type { Ctx } from '../context.ts'
import { transact } from '../db/client.ts'
import { first } from '../db/sql.ts'
import { dispatchMails, NOWHERE } from '../mail/owed.ts'
import { dispatch } from '../outbox/outbox.ts'

export interface UserExport {
  status: 'pending' | 'ready'
  url: string | null
  expiresAt: string | null
}

/** Asks for the file, unless that was done within the last hour or it is there: then gives a URL of it that works for five minutes. */
export const exportUser = async (ctx: Ctx): Promise<UserExport> => {
  const { asked } = await transact(ctx, (db) => ({
    asked: db.execute<{ answer: { id: string; expiresAt: string | null; isNew: boolean } }>(
      sql`select app.ask_export(${crypto.randomUUID()}) as answer`,
    ),
  }))
  const { id, expiresAt, isNew } = first(asked.rows).answer
  if (isNew) ctx.waitUntil?.(dispatch(ctx, [{ kind: 'user.export', workspaceId: NOWHERE, subjectId: id }]))
  if (expiresAt === null) return { status: 'pending', url: null, expiresAt }
  return {
    status: 'ready',
    url: await presignExport(ctx.env, id),
    expiresAt: new Date(expiresAt).toISOString(),
  }
}

/** As the API says a time, where Postgres has another form of it. */
const sayTime = (_key: string, value: unknown) =>
  typeof value === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00$/.test(value)
    ? new Date(value).toISOString()
    : value

/** The job: makes the file, or deletes it when its day is over or its person gone. Twice is the same as once. */
export const runUserExport = async (ctx: Ctx, id: string): Promise<void> => {
  const { known } = await transact(ctx, (db) => ({
    known: db.execute<{ data: object | null }>(sql`select app.read_export(${id}) as data`),
  }))
  const { data } = first(known.rows)
  if (data) {
    await putExport(ctx.env, id, JSON.stringify(data, sayTime, 2))
    const { ended } = await transact(ctx, (db) => ({
      ended: db.execute<{ answer: { mails: string[] } | null }>(
        sql`select app.end_export(${id}, ${uuidv7()}) as answer`,
      ),
    }))
    const { answer } = first(ended.rows)
    if (answer) return dispatchMails(ctx, answer.mails)
  }
  await deleteExport(ctx.env, id)
  await transact(ctx, (db) => ({ settled: db.execute(sql`select app.forget_export(${id})`) }))
}
