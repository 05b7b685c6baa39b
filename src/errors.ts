/** One error class, one table from code to status, and the problem details (RFC 9457) that clients see. */
import { HTTPException } from 'hono/http-exception'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { z } from 'zod'

/** The closed list of codes: HTTP status and default detail. */
const problems = {
  malformed_json: [400, 'The request body is not valid JSON.'],
  malformed_multipart: [400, 'The request body is not complete multipart/form-data.'],
  workspace_required: [400, 'You belong to none or several workspaces: name one in X-Workspace-Id.'],
  unauthorized: [401, 'Sign in and send a valid access token.'],
  refresh_token_reused: [401, 'This refresh token was used before; the session has been ended.'],
  account_not_linked: [401, 'This e-mail address belongs to an account that signs in in another way.'],
  invalid_credentials: [401, 'The e-mail address or the password is wrong.'],
  insufficient_credits: [402, 'The workspace has too few credits left this month.'],
  storage_quota_exceeded: [402, "The workspace's storage is full."],
  plan_limit_reached: [402, 'The plan allows no more of these.'],
  forbidden: [403, 'Your role in this workspace does not allow this.'],
  origin_not_allowed: [403, 'Cookies are accepted for changes only from the front ends of this API.'],
  not_found: [404, 'There is no such thing here.'],
  method_not_allowed: [405, 'This route does not know that method.'],
  email_taken: [409, 'This e-mail address is registered already.'],
  slug_taken: [409, 'This slug is taken.'],
  already_finished: [409, 'The generation has finished already.'],
  last_owner: [409, 'A workspace keeps at least one owner.'],
  already_member: [409, 'This person belongs to the workspace already.'],
  invite_used: [409, 'This invite was accepted before.'],
  invite_expired: [409, 'This invite has expired.'],
  not_retryable: [409, 'Only what failed or was canceled can be tried again.'],
  upload_expired: [409, 'The upload took too long; send the file again.'],
  payload_too_large: [413, 'The request body is too large.'],
  unsupported_media_type: [415, 'This content type is not accepted here.'],
  validation_failed: [422, 'The request does not match the contract.'],
  idempotency_key_reused: [422, 'This Idempotency-Key came with another request before.'],
  rate_limited: [429, 'Too many requests; wait as long as Retry-After says.'],
  internal_error: [500, 'Something went wrong on our side.'],
  misconfigured: [503, 'The service is not configured; its operator has been told in the log.'],
  unavailable: [503, 'The service is not available right now; try again.'],
} as const satisfies Record<string, readonly [ContentfulStatusCode, string]>

export type ErrorCode = keyof typeof problems
const errorCodes = Object.keys(problems) as [ErrorCode, ...ErrorCode[]]
export const statusOf = (code: ErrorCode) => problems[code][0]
const isErrorCode = (code: string): code is ErrorCode => code in problems

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

export const invalidField = (pointer: string, message: string) =>
  new AppError('validation_failed', { errors: [{ pointer, message }] })

/** Problem details as clients get them (`application/problem+json`). */
export const Problem = z
  .object({
    type: z.literal('about:blank'),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.enum(errorCodes),
    requestId: z.string(),
    errors: z.array(z.object({ pointer: z.string(), message: z.string() })).optional(),
  })
  .meta({ id: 'Problem' })

const titles: Record<number, string> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  402: 'Payment Required',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  422: 'Unprocessable Content',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
}

export const problemResponse = (error: AppError, requestId: string): Response => {
  const status = statusOf(error.code)
  const body: z.output<typeof Problem> = {
    type: 'about:blank',
    title: titles[status] ?? 'Error',
    status,
    detail: error.message,
    code: error.code,
    requestId,
    ...(error.errors && { errors: error.errors }),
  }
  return Response.json(body, {
    status,
    headers: {
      'content-type': 'application/problem+json',
      ...(status === 401 && { 'www-authenticate': 'Bearer' }),
      ...error.headers,
    },
  })
}

/** Unique constraints that a client can run into. */
const constraintCodes: Record<string, ErrorCode> = {
  users_email_unique: 'email_taken',
  workspaces_slug_unique: 'slug_taken',
}

/** Turns anything thrown into an AppError: Postgres SQLSTATEs, Hono's own refusals, the unexpected. */
export const toAppError = (thrown: unknown): AppError => {
  if (thrown instanceof AppError) return thrown
  if (thrown instanceof HTTPException) {
    if (thrown.status === 400) return new AppError('malformed_json', { cause: thrown })
    if (thrown.status === 415) return new AppError('unsupported_media_type', { cause: thrown })
    if (thrown.status === 413) return new AppError('payload_too_large', { cause: thrown })
  }
  const database = findDatabaseError(thrown)
  if (!database) return new AppError('internal_error', { cause: thrown })
  const { code: sqlState, message, constraint } = database
  if (/^A[GP]/.test(sqlState ?? '') && isErrorCode(message)) return new AppError(message, { cause: thrown })
  if (sqlState === '23505' && constraint && constraintCodes[constraint]) {
    return new AppError(constraintCodes[constraint], { cause: thrown })
  }
  // No SQLSTATE: the request did not reach Postgres. 40, 53, 57: conflict, no resources, shutting down.
  if (!sqlState || /^(40|53|57|08)/.test(sqlState)) {
    return new AppError('unavailable', { headers: { 'retry-after': '1' }, cause: thrown })
  }
  return new AppError('internal_error', { cause: thrown })
}

/** Whether it was the gate that refused, and nothing else was looked at. */
export const isGateRefusal = (thrown: unknown): boolean =>
  findDatabaseError(thrown)?.code?.startsWith('AG') ?? false

/** Who was refused a right, and where, as the database said. */
export const refusalOf = (thrown: unknown): { workspaceId: string; actor: string } | undefined => {
  const error = findDatabaseError(thrown)
  if (!error?.code?.endsWith('403') || !error.detail) return undefined
  const { workspaceId, actor } = JSON.parse(error.detail) as {
    workspaceId: string | null
    actor: string | null
  }
  return workspaceId && actor ? { workspaceId, actor } : undefined
}

const findDatabaseError = (thrown: unknown) => {
  for (let error = thrown; error instanceof Error; error = error.cause) {
    if (error.name === 'NeonDbError') {
      return error as Error & { code?: string; constraint?: string; detail?: string }
    }
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
