/** Sends what was owed by a transaction: apart from what mails say, which only their job needs. */
import type { Ctx } from '../context.ts'
import { first } from '../db/sql.ts'
import type { OwedMessage } from '../outbox/messages.ts'
import { dispatch } from '../outbox/outbox.ts'

/** In place of a workspace: mails, and what is of people, are of none. */
export const NOWHERE = '00000000-0000-0000-0000-000000000000'

/** Sends what is owed by now. Nobody waits for it, so that an answer's time tells nothing of it. */
export const dispatchMails = (ctx: Ctx, ids: readonly string[]): void => {
  const messages = ids.map((subjectId): OwedMessage => ({ kind: 'mail', workspaceId: NOWHERE, subjectId }))
  ctx.waitUntil?.(dispatch(ctx, messages))
}

/** The same of a mail that a statement has owed, or not. */
export const dispatchIfOwed = (
  ctx: Ctx,
  { rows }: { rows: readonly { owed: boolean }[] },
  mail: string,
): void => {
  if (first(rows).owed) dispatchMails(ctx, [mail])
}
