/** The queues' consumer: runs each message's job, acknowledges it, or has it retried with backoff. */
import { and, isNotNull } from 'drizzle-orm'
import type { Action } from './actions.ts'
import { eraseCopies } from './assets/copies.ts'
import { eraseObject, loseObject, moveObject } from './assets/jobs.ts'
import { readKey } from './assets/storage.ts'
import { checkUpload, endUpload, noteArrival } from './assets/uploads/jobs.ts'
import { recordRefusal } from './audit/audit.ts'
import { runUserExport } from './auth/export.ts'
import { eraseUser } from './auth/leaving.ts'
import { runExport } from './channels/exports.ts'
import { type Ctx, type JobCtx, log, systemContext, type WaitUntil } from './context.ts'
import { change, transact } from './db/client.ts'
import { workspaces } from './db/schema.ts'
import { exists, thisWorkspace } from './db/sql.ts'
import type { Env } from './env.ts'
import { describeError, toAppError } from './errors.ts'
import { abandon, advance } from './generations/engine/advance.ts'
import { cancelJobs, keepOperation } from './generations/engine/jobs.ts'
import { deliverMail, MailEvent, noteMailEvent } from './mail/mails.ts'
import { BucketEvent, JobMessage, type OwedMessage } from './outbox/messages.ts'
import { settle } from './outbox/outbox.ts'
import { deliver } from './webhooks/deliveries.ts'
import { removeEndpoint } from './webhooks/endpoints.ts'
import { removeContents } from './workspaces/removal.ts'

/** What jobs do, where the audit log or the gate has to know. */
const audited: Partial<Record<JobMessage['kind'], Action>> = {
  'upload.check': 'asset.complete',
  'object.lost': 'asset.lose',
  'upload.end': 'asset.expire',
  'workspace.delete': 'workspace.delete',
}

/** For what belongs to a person. */
const outside = (ctx: JobCtx): Ctx => ({ ...ctx, scope: 'system', workspaceId: undefined })

/** @returns the seconds until whoever holds the job must have given it back, if it is held */
const run = async (ctx: JobCtx, job: JobMessage): Promise<number | undefined> => {
  const { kind, subjectId } = job
  switch (kind) {
    case 'refusal':
      await recordRefusal(ctx, job)
      return undefined
    case 'generation':
      return advance(ctx, subjectId, {
        row: job.row,
        early: job.early,
        told: job.told,
        lasting: job.lasting ?? false,
      })
    case 'prediction.cancel':
      await cancelJobs(ctx, subjectId)
      return undefined
    case 'webhook.deliver':
      await deliver(ctx, subjectId)
      return undefined
    case 'object.delete':
      await eraseObject(ctx, subjectId)
      return undefined
    case 'copies.delete':
      await eraseCopies(ctx, subjectId)
      return undefined
    case 'object.lost':
      await loseObject(ctx, subjectId)
      return undefined
    case 'object.move':
      await moveObject(ctx, subjectId)
      return undefined
    case 'export':
      return runExport(ctx, subjectId)
    case 'upload.check':
      return checkUpload(ctx, subjectId)
    case 'upload.end':
      await endUpload(ctx, subjectId)
      return undefined
    case 'webhook.delete':
      await removeEndpoint(ctx, subjectId)
      return undefined
    case 'workspace.delete':
      await removeContents(ctx)
      return undefined
    case 'user.erase':
      await eraseUser({ ...outside(ctx), action: 'user.erase' }, subjectId)
      return undefined
    case 'user.export':
      await runUserExport(outside(ctx), subjectId)
      return undefined
    case 'mail':
      await deliverMail(outside(ctx), subjectId)
      return undefined
  }
}

/**
 * What is out of retries stays owed, and the sweeper sends it again; a job ends only if its time is over. A refusal is
 * owed nowhere: it is tried again here, and the log has all of it each time.
 */
const handleDeadLetter = async (ctx: JobCtx, job: JobMessage): Promise<undefined> => {
  const { kind, subjectId } = job
  ctx.log({ level: 'error', message: 'dead letter', kind, subjectId })
  if (kind === 'generation') {
    if (job.told) await keepOperation(ctx, job.told.jobId, job.told.operation)
    await abandon(ctx, subjectId)
  }
  if (kind === 'refusal') await recordRefusal(ctx, job)
}

/** Seconds between two attempts at most. */
const MAX_RETRY_DELAY = 300

const retryLater = (message: Message) =>
  message.retry({ delaySeconds: Math.min(2 ** message.attempts, MAX_RETRY_DELAY) })

/** What the bucket tells of other things than uploads concerns nobody, and what is lost of it clients say themselves. */
const handleEvent = async (env: Env, message: Message, event: BucketEvent, waitUntil: WaitUntil) => {
  const of = readKey(event.object.key)
  const isArrival = event.action === 'PutObject' || event.action === 'CompleteMultipartUpload'
  if (!of || of.isCopy || !isArrival) return message.ack()
  const { workspaceId, id } = of
  const options = { id: message.id, workspaceId, action: 'asset.complete', waitUntil } as const
  const ctx: JobCtx = { ...systemContext(env, options), workspaceId }
  try {
    await noteArrival(ctx, id)
    message.ack()
  } catch (error) {
    if (toAppError(error).code === 'not_found') return message.ack()
    ctx.log({ level: 'error', message: 'arrival not noted', assetId: id, error: describeError(error) })
    retryLater(message)
  }
}

/** What came of a mail. */
const handleMailEvent = async (env: Env, message: Message, event: MailEvent, waitUntil: WaitUntil) => {
  const ctx = systemContext(env, { id: message.id, waitUntil })
  try {
    await noteMailEvent(ctx, event)
    message.ack()
  } catch (error) {
    ctx.log({ level: 'error', message: 'mail event not noted', error: describeError(error) })
    retryLater(message)
  }
}

/** A workspace that is deleted owes nothing any more. One that was restored meanwhile does, so it is asked in its turn. */
const settleGone = async (ctx: JobCtx, { kind, subjectId }: OwedMessage): Promise<void> => {
  const isDeleted = exists(workspaces, and(thisWorkspace, isNotNull(workspaces.deletedAt)))
  try {
    await change({ ...ctx, action: 'workspace.delete' }, (db) => ({
      settled: settle(db, kind, subjectId, isDeleted),
    }))
  } catch (thrown) {
    if (toAppError(thrown).code !== 'not_found') throw thrown
    // Gone altogether.
    await transact(ctx, (db) => ({ settled: settle(db, kind, subjectId) }))
  }
}

/** Handles every message by itself: one that fails is retried alone. */
export const consume = async (batch: MessageBatch, env: Env, waitUntil: WaitUntil): Promise<void> => {
  const handle = batch.queue.endsWith('-dead') ? handleDeadLetter : run
  await Promise.all(
    batch.messages.map(async (message) => {
      const { data: job } = JobMessage.safeParse(message.body)
      const { data: event } = BucketEvent.safeParse(message.body)
      const { data: mailEvent } = MailEvent.safeParse(message.body)
      if (event) return handleEvent(env, message, event, waitUntil)
      if (mailEvent) return handleMailEvent(env, message, mailEvent, waitUntil)
      if (!job) {
        log({ level: 'error', message: 'malformed job', queue: batch.queue, messageId: message.id })
        return message.ack()
      }
      const { workspaceId } = job
      const action = audited[job.kind]
      const options = { id: message.id, workspaceId, waitUntil, ...(action && { action }) }
      const ctx: JobCtx = { ...systemContext(env, options), workspaceId }
      try {
        const heldFor = await handle(ctx, job)
        // Its consumer may have died with the lease: a message that was retried comes again when that is over.
        if (heldFor !== undefined && message.attempts > 1) message.retry({ delaySeconds: heldFor })
        else message.ack()
      } catch (error) {
        const { code } = toAppError(error)
        if (code === 'not_found' && ctx.gate === 'refused' && job.kind !== 'refusal') {
          await settleGone(ctx, job).catch((fault: unknown) =>
            ctx.log({ level: 'warn', message: 'not settled', ...job, error: describeError(fault) }),
          )
        }
        // Or somebody else was faster.
        if (['already_finished', 'not_found'].includes(code)) return message.ack()
        ctx.log({ level: 'error', message: 'job failed', ...job, error: describeError(error) })
        retryLater(message)
      }
    }),
  )
}
