/** What travels on the queues, and on which; and what the sweeper is told. */
import { z } from 'zod'
import { actions } from '../actions.ts'
import { jobKinds, type Store } from '../words.ts'

/**
 * Ids: the database knows the rest. `row`: a fresh generation as it was accepted, so that its first calls are known before
 * it is claimed. `early`: a provider has news, so the next step need not wait for its time; `told`: and so it calls the job.
 * `lasting`: the step is a call that lasts.
 */
export const OwedMessage = z.object({
  kind: z.enum(jobKinds),
  workspaceId: z.uuid(),
  subjectId: z.uuid(),
  row: z.record(z.string(), z.unknown()).optional(),
  early: z.boolean().optional(),
  told: z.object({ jobId: z.uuid(), operation: z.record(z.string(), z.string()) }).optional(),
  lasting: z.boolean().optional(),
})
export type OwedMessage = z.output<typeof OwedMessage>

/** The exception: what was refused left nothing in the database. The subject is this very refusal. */
const RefusalMessage = z.object({
  kind: z.literal('refusal'),
  workspaceId: z.uuid(),
  subjectId: z.uuid(),
  actor: z.string(),
  action: z.enum(actions),
  request: z.object({ id: z.string(), ip: z.string().optional(), userAgent: z.string().optional() }),
})
export type RefusalMessage = z.output<typeof RefusalMessage>

export const JobMessage = z.discriminatedUnion('kind', [OwedMessage, RefusalMessage])
export type JobMessage = z.output<typeof JobMessage>

/** What R2 tells of its buckets on the queue `arrivals`, where somebody has had it tell; of the key everything follows. */
export const BucketEvent = z.object({
  account: z.string(),
  bucket: z.string(),
  object: z.object({ key: z.string(), size: z.number().optional(), eTag: z.string().optional() }),
  action: z.string(),
  eventTime: z.string(),
})
export type BucketEvent = z.output<typeof BucketEvent>

/** What may be slow has queues of its own: a webhook's target, a provider that answers with the pictures, a file of gigabytes, an export's pixels, the mail service. */
export const queueOf = (message: JobMessage) =>
  message.kind === 'generation' && message.lasting ? 'LASTING' : queues[message.kind]

const queues = {
  generation: 'JOBS',
  'prediction.cancel': 'JOBS',
  'object.delete': 'JOBS',
  'copies.delete': 'JOBS',
  'object.lost': 'JOBS',
  'object.move': 'UPLOADS',
  export: 'PICTURES',
  'upload.check': 'UPLOADS',
  'upload.end': 'JOBS',
  'webhook.deliver': 'DELIVERIES',
  'webhook.delete': 'JOBS',
  'workspace.delete': 'JOBS',
  'user.erase': 'JOBS',
  'user.export': 'JOBS',
  mail: 'MAILS',
  refusal: 'JOBS',
} as const satisfies Record<JobMessage['kind'], string>

/** An object, or what has the id of one. */
export interface Found {
  workspaceId: string
  id: string
}

/** How far a walk through storage has come (`assets/reconcile.ts`), and what it has found. */
export interface Walk {
  /** What it is in; after the first comes the second storage, if there is one. */
  store: Store
  /** What became of the first. */
  home?: WalkReport
  /** Milliseconds. */
  startedAt: number
  /** The last key of what is done; undefined at the beginning. */
  after?: string
  /** The last object up to there. */
  position?: Found
  /** Keys, and objects of ready assets, that were held against each other. */
  keys: number
  objects: number
  /** Of very many only the first. */
  withoutRow: Found[]
  withoutObject: Found[]
  /** Storage has contradicted itself. */
  isDoubtful: boolean
}

/** What became of a walk. */
export interface WalkReport {
  /** Milliseconds. */
  startedAt: number
  endedAt: number
  keys: number
  objects: number
  /** Counted to 101 in each storage. */
  withoutRow: number
  withoutObject: number
  /** Whether what was found is mended: not if it is so much that something else must be wrong. */
  isTrusted: boolean
}

/** The object of `sweeper.ts`, for whoever calls it. */
export interface Sweeping extends Rpc.DurableObjectBranded {
  /** Somebody uses the database, and may have something owed. */
  noteUse(): Promise<void>
  /** Cron has swept: the next is due in so many milliseconds, if anything is owed. */
  noteSweep(dueIn: number | undefined): Promise<void>
  /** Readiness has found the database well. */
  noteWell(): void
  /** When the database was last well, in milliseconds, if to ask it again would only wake it. */
  lastWell(): number | null
  /** The walk through storage, if one is due, for a minute; null if it is not, or somebody has it. */
  takeWalk(): { turn: number; walk: Walk | null } | null
  /** Keeps how far it has come or what became of it, unless somebody else has it by now. @returns whether it was kept */
  keepWalk(turn: number, walk: Walk | WalkReport): boolean
  /** Gives it back as it was last kept. */
  leaveWalk(turn: number): void
  lastWalk(): WalkReport | null
}
