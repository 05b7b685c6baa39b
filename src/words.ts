/** The closed lists of words that the database, the contract and the code share. */

/** From the least to the most. */
export const roles = ['viewer', 'member', 'admin', 'owner'] as const
export type Role = (typeof roles)[number]

export const plans = ['free', 'pro', 'enterprise'] as const
export type Plan = (typeof plans)[number]

export const assetKinds = ['image', 'video', 'document'] as const
export type AssetKind = (typeof assetKinds)[number]
/** What may be uploaded. */
export const mediaKinds: Record<string, AssetKind> = {
  'image/jpeg': 'image',
  'image/png': 'image',
  'image/webp': 'image',
  'image/gif': 'image',
  'image/avif': 'image',
  'image/heic': 'image',
  'video/mp4': 'video',
  'video/webm': 'video',
  'application/pdf': 'document',
  'application/vnd.openxmlformats-officedocument.wordprocessingml.document': 'document',
  'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet': 'document',
  'text/plain': 'document',
}
export const assetSources = ['upload', 'generation', 'export'] as const
/** `pending`: announced, and not all there yet, or not yet looked at. */
export const assetStatuses = ['pending', 'ready'] as const

/** Where objects are: in the bucket of the settings, or in the second one, until they come home. */
export const stores = ['home', 'fallback'] as const
export type Store = (typeof stores)[number]

/** Where pictures and films are shown and sold, each with rules of its own. */
export const channels = [
  'amazon-main',
  'google-merchant',
  'shopify',
  'instagram-feed',
  'instagram-reel',
  'tiktok',
  'web',
] as const
export type Channel = (typeof channels)[number]
export const exportStatuses = ['queued', 'succeeded', 'refused'] as const
/** Sized copies: pixels of the width at most, and formats. */
export const copyWidths = [64, 160, 320, 640, 1024, 2048] as const
export type CopyWidth = (typeof copyWidths)[number]
export const copyFormats = ['webp', 'jpeg', 'png'] as const
export type CopyFormat = (typeof copyFormats)[number]

/** What is made of the photos. */
export const tasks = ['scene', 'cutout', 'packshot', 'upscale', 'expand', 'animate'] as const
export type Task = (typeof tasks)[number]
/** What comes out. */
export const generationKinds = ['image', 'video'] as const
export type GenerationKind = (typeof generationKinds)[number]
export const kindOf = (task: Task): GenerationKind => (task === 'animate' ? 'video' : 'image')
export const providerNames = ['replicate', 'fal', 'openai', 'gemini', 'workers-ai'] as const
export type ProviderName = (typeof providerNames)[number]
/** What a provider calls a job: only the provider's own file reads it. */
export type Operation = Record<string, string>

export const endedStatuses = ['succeeded', 'failed', 'canceled'] as const
export const generationStatuses = ['queued', 'running', ...endedStatuses] as const
export type GenerationStatus = (typeof generationStatuses)[number]
export const hasEnded = (status: GenerationStatus) => endedStatuses.some((ended) => ended === status)
/**
 * Where an open job is: in its workspace's line, in the provider's, waiting for the model to start, being made, or with
 * results on their way to storage.
 */
export const generationPhases = ['plan_line', 'provider_line', 'booting', 'running', 'storing'] as const
export type GenerationPhase = (typeof generationPhases)[number]
/** @returns undefined once it has ended */
export const phaseOf = (
  status: GenerationStatus,
  phase: GenerationPhase | null,
): GenerationPhase | undefined => {
  if (status === 'queued') return 'plan_line'
  return status === 'running' ? (phase ?? 'running') : undefined
}
/** `submitting`: asked, and not yet answered. `lost`: nobody will ever know. */
export const providerJobStatuses = [
  'submitting',
  'running',
  'succeeded',
  'failed',
  'canceled',
  'lost',
] as const
export const aspectRatios = ['1:1', '4:3', '3:4', '16:9', '9:16'] as const
export type AspectRatio = (typeof aspectRatios)[number]
export const styles = ['modern', 'luxury', 'fresh', 'tech', 'warm', 'business'] as const
export type Style = (typeof styles)[number]

export const eventTypes = ['queued', 'running', 'progress', 'provider.switched', ...endedStatuses] as const

export const creditKinds = ['reserve', 'charge', 'refund'] as const
export const jobKinds = [
  'generation',
  'prediction.cancel',
  'object.delete',
  'copies.delete',
  'object.lost',
  'object.move',
  'export',
  'upload.check',
  'upload.end',
  'webhook.deliver',
  'webhook.delete',
  'workspace.delete',
  'user.erase',
  'user.export',
  'mail',
] as const
export const deliveryStatuses = ['pending', 'delivered', 'failed'] as const
/** Of mails, the first where nobody has said. */
export const languages = ['en', 'de', 'zh'] as const
export type Language = (typeof languages)[number]
/**
 * `change_old` and `change_new` ask for both proofs of a change of address, `email_changed` tells the old one. The rest
 * after it only tells.
 */
export const mailKinds = [
  'verify',
  'reset',
  'change_old',
  'change_new',
  'invite',
  'email_changed',
  'password_changed',
  'password_reset',
  'factor_added',
  'factor_removed',
  'codes_renewed',
  'new_device',
  'factor_guessed',
  'leaving',
  'staying',
  'export',
] as const
export type MailKind = (typeof mailKinds)[number]
/** `void`: nobody is to have it any more. `unknown`: it may have been sent, so it is not sent again. */
export const mailStatuses = ['pending', 'sending', 'sent', 'refused', 'unknown', 'void'] as const

/** Whether a free workspace has the free credits: `waiting` for its owner to ask, `elsewhere` in another one of the person. */
export const freeCreditStates = ['granted', 'held', 'waiting', 'elsewhere', 'unverified'] as const
export type FreeCreditState = (typeof freeCreditStates)[number]

export const actorTypes = ['user', 'api_key', 'system'] as const

/** Who can do something about a failure. */
export const fixers = ['caller', 'operator', 'provider'] as const
export type Fixer = (typeof fixers)[number]

/** Why a generation failed, with who can do something about it, and what to tell them. */
export const failureCodes = {
  content_rejected: {
    whoFixes: 'caller',
    retryable: false,
    message: "The provider's safety check refused the photos or the words: change them.",
  },
  input_rejected: {
    whoFixes: 'caller',
    retryable: false,
    message: 'A photo could not be read, or not be used by the model: send another.',
  },
  input_deleted: {
    whoFixes: 'caller',
    retryable: false,
    message: 'An input was deleted before the job started.',
  },
  model_unavailable: {
    whoFixes: 'caller',
    retryable: false,
    message: 'The model is no longer offered: choose another.',
  },
  service_unavailable: {
    whoFixes: 'operator',
    retryable: true,
    message: 'The service could not have it made; its operator has been told.',
  },
  internal_error: { whoFixes: 'operator', retryable: true, message: 'The job could not be processed.' },
  deadline_exceeded: { whoFixes: 'provider', retryable: true, message: 'The job took too long.' },
  provider_failed: { whoFixes: 'provider', retryable: true, message: 'The model failed, more than once.' },
  no_output: { whoFixes: 'provider', retryable: true, message: 'The model returned no usable output.' },
} as const
export type FailureCode = keyof typeof failureCodes

/** As callers read it. */
export interface GenerationError {
  code: FailureCode
  message: string
  retryable: boolean
  whoFixes: Fixer
}

/** An asset as it was when a provider was sent it. */
export interface SentInput {
  assetId: string
  /** Hex. */
  sha256: string
}

/** The copy of a photo that providers are sent. */
export interface PreparedInput {
  mimeType: 'image/jpeg' | 'image/png'
  /** Bytes. */
  size: number
  /** Pixels. */
  width: number
  height: number
}

/** Why an export was refused. */
export const exportRefusals = [
  'wrong_kind',
  'unreadable',
  'no_cutout',
  'too_small',
  'not_met',
  'storage_quota_exceeded',
  'service_unavailable',
] as const
export interface ExportRefusal {
  code: (typeof exportRefusals)[number]
  detail: string
  /** The task whose result could be exported. */
  helps: Task | null
}

/** A file of a generation that is in storage. */
export interface StoredOutput {
  /** Which of the outputs asked for, from 0. */
  index: number
  objectId: string
  name: string
  object: {
    kind: (typeof assetKinds)[number]
    mimeType: string
    width: number | null
    height: number | null
    /** Of films. */
    durationSeconds: number | null
    /** Of documents that say. */
    pages: number | null
    /** Bytes. */
    size: number
    /** Hex. */
    sha256: string
    store: Store
  }
}

/** Of what the API depends on, from best to worst. */
export const healthStates = ['ok', 'degraded', 'down'] as const
export type HealthState = (typeof healthStates)[number]
