/** What the package offers. */

export type { DownloadOptions, UploadOptions, UploadProgress } from './assets.ts'
export type { SessionStore } from './auth.ts'
export { type ClientOptions, MerchantClient } from './client.ts'
export {
  ApiError,
  ConnectionError,
  GenerationError,
  MerchantError,
  type Problem,
  WebhookError,
} from './errors.ts'
export type { EventOptions } from './events.ts'
export type { FollowOptions, Progress, RunOptions } from './generations.ts'
export type { components, operations, paths, webhooks } from './openapi.ts'
export type { Asset, Generation, GenerationEvent, GenerationInput, Tokens, WebhookMessage } from './types.ts'
export { type VerifyOptions, verifyWebhook } from './webhooks.ts'
