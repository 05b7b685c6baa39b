/** The job of a mail: taken, written, sent once, and its outcome noted; and what the mail service tells of it later. */
import { sql } from 'drizzle-orm'
import { z } from 'zod'
import type { Ctx } from '../context.ts'
import { persist, transact } from '../db/client.ts'
import { first } from '../db/sql.ts'
import { toStorable } from '../text.ts'
import type { Language, MailKind } from '../words.ts'
import { sendMail } from './service.ts'
import { writeLetter } from './texts.ts'
import { secretsOf } from './tokens.ts'

type Taken =
  | {
      status: 'sending'
      kind: MailKind
      recipient: string
      language: Language | null
      data: Record<string, string> & { isProved: boolean }
    }
  | { status: 'unknown' | 'refused' | 'void' | 'sent' | null }

/** Milliseconds for which a database that stumbles is asked again: less than a mail is held for. */
const PATIENCE = 25_000

/**
 * Sends a mail once. Between its note that a call begins and the note of the outcome nobody else calls, and if that second
 * note never comes, nobody does again: a mail whose outcome is unknown is not sent twice.
 */
export const deliverMail = async (ctx: Ctx, id: string): Promise<void> => {
  const taker = crypto.randomUUID()
  const { token, code, tokenHash, codeHash } = secretsOf(ctx.env, id)
  const { taken } = await persist(PATIENCE, () =>
    transact(ctx, (db) => ({
      taken: db.execute<{ mail: Taken | null }>(
        sql`select app.take_mail(${id}, ${taker}, ${tokenHash}, ${codeHash}) as mail`,
      ),
    })),
  )
  const { mail } = first(taken.rows)
  if (mail?.status === 'unknown')
    ctx.log({ level: 'warn', message: 'nobody knows whether a mail was sent', mailId: id })
  if (mail?.status !== 'sending') return
  const { kind, recipient, language, data } = mail
  const text = writeLetter(ctx.env, { kind, language: language ?? 'en', data, token, code })
  const outcome = await sendMail(ctx.env, { to: recipient, ...text })
  const {
    kind: end,
    error,
    messageId,
    bounced,
  } = { error: null, messageId: null, bounced: false, ...outcome }
  // Of the sender only the operator can mend what is wrong.
  const level = error?.startsWith('E_SENDER') ? 'error' : 'warn'
  if (end !== 'sent') ctx.log({ level, message: 'mail not sent', mailId: id, outcome: end, error })
  await persist(PATIENCE, () =>
    transact(ctx, (db) => ({
      ended: db.execute(
        sql`select app.end_mail(${id}, ${taker}, ${end}, ${error}, ${messageId}, ${bounced}::boolean)`,
      ),
    })),
  )
}

/**
 * What an event subscription of the mail service tells (docs/deploy.md).
 * https://developers.cloudflare.com/email-service/platform/event-subscriptions/
 */
export const MailEvent = z.object({
  type: z.string().startsWith('cf.email.sending.message.'),
  payload: z.object({
    recipient: z.string(),
    bounce: z.object({ type: z.string(), reason: z.string().optional() }).optional(),
    rejection: z.object({ reason: z.string() }).optional(),
  }),
})
export type MailEvent = z.output<typeof MailEvent>

/** Of what came of mails only addresses that take none matter: a mailbox that is not there, or whose owner complains. */
export const noteMailEvent = async (ctx: Ctx, { type, payload }: MailEvent): Promise<void> => {
  const { recipient, bounce, rejection } = payload
  const reason =
    (type.endsWith('.bounced') && bounce?.type === 'hard' && (bounce.reason ?? 'hard bounce')) ||
    (type.endsWith('.complained') && 'complaint') ||
    (type.endsWith('.rejected') && rejection?.reason === 'suppressed' && 'suppressed')
  if (!reason) return
  await transact(ctx, (db) => ({
    noted: db.execute(sql`select app.note_bounce(${recipient}, ${toStorable(reason.slice(0, 200))})`),
  }))
}
