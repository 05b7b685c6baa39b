/** The queue's consumer: runs each message's job, acknowledges it, or gives it back with patience. */
import { eraseObject } from './assets/assets.ts'
import { recordRefusal } from './audit/audit.ts'
import { type JobCtx, log, systemContext } from './context.ts'
import type { Env } from './env.ts'
import { describeError, toAppError } from './errors.ts'
import { abandon, advance, cancelPrediction } from './generations/engine/advance.ts'
import { JobMessage } from './outbox/messages.ts'
import { deliver } from './webhooks/deliveries.ts'

const run = (ctx: JobCtx, job: JobMessage): Promise<void> => {
  const { kind, subjectId } = job
  switch (kind) {
    case 'refusal':
      return recordRefusal(ctx, job)
    case 'generation':
      return advance(ctx, subjectId)
    case 'prediction.cancel':
      return cancelPrediction(ctx, subjectId)
    case 'webhook.deliver':
      return deliver(ctx, subjectId)
    case 'object.delete':
      return eraseObject(ctx, subjectId)
  }
}

/** A generation out of retries ends as failed; everything else stays owed, and the sweeper tries again later. */
const bury = async (ctx: JobCtx, { kind, subjectId }: JobMessage): Promise<void> => {
  ctx.log({ level: 'error', message: 'dead letter', kind, subjectId })
  if (kind === 'generation') await abandon(ctx, subjectId)
}

/** Handles every message by itself: one that fails is retried alone. */
export const consume = async (batch: MessageBatch, env: Env): Promise<void> => {
  const handle = batch.queue.endsWith('-dead') ? bury : run
  await Promise.all(
    batch.messages.map(async (message) => {
      const parsed = JobMessage.safeParse(message.body)
      if (!parsed.success) {
        log({ level: 'error', message: 'malformed job', queue: batch.queue, messageId: message.id })
        return message.ack()
      }
      const { workspaceId } = parsed.data
      const ctx: JobCtx = { ...systemContext(env, { id: message.id, workspaceId }), workspaceId }
      try {
        await handle(ctx, parsed.data)
        message.ack()
      } catch (error) {
        // Somebody else was faster, or the workspace is gone.
        if (['already_finished', 'not_found'].includes(toAppError(error).code)) return message.ack()
        ctx.log({ level: 'error', message: 'job failed', ...parsed.data, error: describeError(error) })
        message.retry({ delaySeconds: Math.min(2 ** message.attempts, 300) })
      }
    }),
  )
}
