/** The closed lists of words that the database, the contract and the code share. */

/** From the least to the most. */
export const roles = ['viewer', 'member', 'admin', 'owner'] as const
export type Role = (typeof roles)[number]

export const plans = ['free', 'pro', 'enterprise'] as const
export type Plan = (typeof plans)[number]

export const assetKinds = ['image', 'video', 'document'] as const
export type AssetKind = (typeof assetKinds)[number]
export const assetSources = ['upload', 'generation'] as const
export const assetStatuses = ['pending', 'ready', 'failed'] as const

export const generationKinds = ['image', 'video'] as const
export type GenerationKind = (typeof generationKinds)[number]
export const unfinishedStatuses = ['queued', 'running'] as const
export const endedStatuses = ['succeeded', 'failed', 'canceled'] as const
export const generationStatuses = [...unfinishedStatuses, ...endedStatuses] as const
export type GenerationStatus = (typeof generationStatuses)[number]
export const hasEnded = (status: GenerationStatus) => endedStatuses.some((ended) => ended === status)
/** Where an open job is: in its workspace's line, at a provider, or with results on their way to storage. */
export const generationPhases = ['plan_line', 'running', 'storing'] as const
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
  'webhook.deliver',
  'webhook.delete',
  'workspace.delete',
] as const
export const deliveryStatuses = ['pending', 'delivered', 'failed'] as const
export const actorTypes = ['user', 'api_key', 'system'] as const

export type FailureCode =
  | 'deadline_exceeded'
  | 'provider_refused'
  | 'content_rejected'
  | 'provider_failed'
  | 'provider_lost'
  | 'model_unavailable'
  | 'input_deleted'
  | 'no_output'
  | 'internal_error'

/** Why a generation failed, as callers read it. */
export interface GenerationError {
  code: FailureCode
  message: string
  retryable: boolean
}

/** A file of a generation that is in storage. */
export interface StoredOutput {
  /** Which of the outputs asked for, from 0. */
  index: number
  assetId: string
  name: string
  object: {
    kind: (typeof assetKinds)[number]
    mimeType: string
    width: number | null
    height: number | null
    /** Bytes. */
    size: number
    /** Hex. */
    sha256: string
  }
}
