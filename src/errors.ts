/** What can go wrong, as a closed list of codes with a status each, and the one error class that carries them. */
// Its type only: the driver is loaded by what asks the database.
import type { NeonDbError } from '@neondatabase/serverless'

/** HTTP status and default detail of each code. */
const problems = {
  malformed_json: [400, 'The request body is not valid JSON.'],
  malformed_multipart: [
    400,
    'The request body broke off, or is not the multipart/form-data that it should be.',
  ],
  workspace_required: [400, 'You belong to several workspaces: name one in X-Workspace-Id.'],
  unauthorized: [401, 'The request has no valid credentials: send an access token or an API key.'],
  refresh_token_reused: [
    401,
    'This refresh token was used before, so its session was revoked: sign in again.',
  ],
  invalid_credentials: [401, 'The e-mail address or the password is wrong.'],
  invalid_code: [401, 'The code is wrong, too old, or was used before.'],
  invalid_passkey: [401, 'This passkey is not known here, or was deleted.'],
  token_used: [401, 'This works once, and was used before: begin again.'],
  insufficient_credits: [
    402,
    'The workspace has too few credits left this month; `GET /usage` says how many, and why a free one has none.',
  ],
  storage_quota_exceeded: [402, "The file does not fit the workspace's storage quota: delete others first."],
  free_credits_paused: [
    402,
    'The free credits of all workspaces together are used up for today: try again tomorrow, or choose a larger plan.',
  ],
  plan_limit_reached: [402, 'The plan allows no more of these: remove one first, or choose a larger plan.'],
  forbidden: [403, 'Your role in this workspace, or the scope of your API key, does not allow this.'],
  email_not_verified: [403, 'This needs a proved e-mail address: confirm yours first.'],
  step_up_required: [403, 'Prove yourself once more first: POST /auth/step-up.'],
  second_factor_required: [
    403,
    'This needs a session that was proved by a second factor: set one up, or POST /auth/step-up with it.',
  ],
  origin_not_allowed: [403, 'With a session cookie, changes are accepted from an allowed Origin only.'],
  not_found: [404, 'There is no such resource, or it belongs to another workspace.'],
  method_not_allowed: [405, 'This route does not support the method; Allow lists those that it does.'],
  email_taken: [409, 'This e-mail address belongs to an account already.'],
  invalid_token: [409, 'This link or code is wrong, used or expired: ask for a new one.'],
  already_enrolled: [409, 'This second factor is set up already: remove it first.'],
  passkey_limit_reached: [409, 'An account has at most 20 passkeys: delete one first.'],
  slug_taken: [409, 'This slug is already taken: choose another.'],
  already_finished: [409, 'The generation has already finished.'],
  endpoint_disabled: [409, 'The endpoint is disabled: enable it first.'],
  last_owner: [
    409,
    'A workspace needs at least one owner who stays: first make another member, who is not leaving, an owner.',
  ],
  already_member: [409, 'This person is already a member of the workspace.'],
  invite_used: [409, 'This invite has already been accepted.'],
  invite_expired: [409, 'This invite has expired: ask for a new one.'],
  not_retryable: [
    409,
    'Only a generation that failed or was canceled can be retried, and only while its model is offered and takes what it asks for.',
  ],
  upload_incomplete: [
    409,
    'Not all of the file has arrived and been read yet: send what is missing, if anything is, and try again.',
  ],
  upload_expired: [409, 'The upload took too long: send the file again.'],
  payload_too_large: [413, 'The request body is too large.'],
  unsupported_media_type: [415, 'This content type is not supported here.'],
  upload_mismatch: [422, 'What has arrived is not what was announced: it was deleted.'],
  validation_failed: [422, 'The request does not match the contract.'],
  not_convertible: [422, 'No copy can be made of this file.'],
  idempotency_key_reused: [422, 'This Idempotency-Key was used with another request: choose a new one.'],
  rate_limited: [429, 'Too many requests: wait for the seconds that Retry-After says.'],
  internal_error: [500, 'An unexpected error occurred on the server.'],
  misconfigured: [503, 'The service is misconfigured; its log names the settings to correct.'],
  unavailable: [503, 'The service is temporarily unavailable: try again.'],
} as const satisfies Record<string, readonly [number, string]>

export type ErrorCode = keyof typeof problems
const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(problems, code)
export const errorCodes = Object.keys(problems).filter(isErrorCode)
export const statusOf = (code: ErrorCode) => problems[code][0]
export const detailOf = (code: ErrorCode) => problems[code][1]

interface FieldError {
  /** JSON pointer into the body, or `/query/…`, `/path/…`, `/header/…`. */
  pointer: string
  message: string
}

/** What any verb throws to refuse; everything else that is thrown is a 500. */
export class AppError extends Error {
  readonly code: ErrorCode
  readonly errors: FieldError[] | undefined
  readonly headers: Record<string, string>

  constructor(
    code: ErrorCode,
    options: {
      detail?: string
      errors?: FieldError[]
      headers?: Record<string, string>
      cause?: unknown
    } = {},
  ) {
    super(options.detail ?? problems[code][1], { cause: options.cause })
    this.code = code
    this.errors = options.errors
    this.headers = options.headers ?? {}
  }
}

/** What is away for now; `seconds`: when to try again. */
export const unavailable = (cause?: unknown, seconds = 1) =>
  new AppError('unavailable', { headers: { 'retry-after': String(seconds) }, cause })

/** Whether it may have been done all the same. */
export const isUnknownOutcome = (thrown: unknown): boolean =>
  ['unavailable', 'internal_error'].includes(toAppError(thrown).code)

/** For `catch`: what is said in place of a refusal that says too little. */
export const insteadOf =
  (code: ErrorCode, say: () => AppError) =>
  (thrown: unknown): never => {
    throw toAppError(thrown).code === code ? say() : thrown
  }

export const invalidField = (pointer: string, message: string) =>
  new AppError('validation_failed', { errors: [{ pointer, message }] })

const NO_WORKSPACE = 'You belong to no workspace: create one, or accept an invite.'

/** Unique constraints that a client can violate. */
const constraintCodes: Record<string, ErrorCode> = {
  users_email_unique: 'email_taken',
  workspaces_slug_unique: 'slug_taken',
  passkeys_credential_id_unique: 'already_enrolled',
  spent_tokens_pkey: 'token_used',
}

/** Turns anything thrown into an AppError: a refusal by SQL, a violated constraint, a fault of the database, the unexpected. */
export const toAppError = (thrown: unknown): AppError => {
  if (thrown instanceof AppError) return thrown
  const database = findDatabaseError(thrown)
  // Neon's driver passes on what its `fetch` throws while the answer is read when it takes too long.
  if (!database && isTimeout(thrown)) {
    return unavailable(thrown)
  }
  if (!database) return new AppError('internal_error', { cause: thrown })
  const { code: sqlState, message, constraint } = database
  if (message === 'workspace_required' && database.detail === '0') {
    return new AppError(message, { detail: NO_WORKSPACE, cause: thrown })
  }
  if (/^A[GP]/.test(sqlState ?? '') && isErrorCode(message)) return new AppError(message, { cause: thrown })
  if (sqlState === '23505' && constraint && constraintCodes[constraint]) {
    return new AppError(constraintCodes[constraint], { cause: thrown })
  }
  // No SQLSTATE: the request did not reach Postgres. 08, 40, 53, 57: connection, conflict, resources, shutdown or a
  // statement's time; 25P04 and 55P03: the time of a transaction or for a lock is up.
  if (!sqlState || /^(08|40|53|57|25P04|55P03)/.test(sqlState)) {
    return unavailable(thrown)
  }
  return new AppError('internal_error', { cause: thrown })
}

/** Whether the gate itself refused, so that none of the work was done. */
export const isGateRefusal = (thrown: unknown): boolean =>
  findDatabaseError(thrown)?.code?.startsWith('AG') ?? false

/** Who was refused a right, and where, as `app.require` reports it with a 403. */
export const refusalOf = (thrown: unknown): { workspaceId: string; actor: string } | undefined => {
  const error = findDatabaseError(thrown)
  if (!error?.code?.endsWith('403') || !error.detail) return undefined
  const { workspaceId, actor }: { workspaceId: string | null; actor: string | null } = JSON.parse(
    error.detail,
  )
  return workspaceId && actor ? { workspaceId, actor } : undefined
}

const isTimeout = (thrown: unknown): boolean => thrown instanceof Error && thrown.name === 'TimeoutError'

const isDatabaseError = (error: Error): error is NeonDbError => error.name === 'NeonDbError'

const findDatabaseError = (thrown: unknown): NeonDbError | undefined => {
  for (let error = thrown; error instanceof Error; error = error.cause) {
    if (isDatabaseError(error)) return error
  }
  return undefined
}

/** For logs: the error and its causes, without values that might be secret. */
export const describeError = (thrown: unknown): string => {
  const parts: string[] = []
  for (let error = thrown; error instanceof Error && parts.length < 5; error = error.cause) {
    parts.push(`${error.name}: ${error.message.slice(0, 300)}`)
  }
  return parts.join(' <- ') || String(thrown).slice(0, 300)
}
