/** Problem details (RFC 9457): how every refusal and fault is declared in a contract and answered. */
import { HTTPException } from 'hono/http-exception'
import { z } from 'zod'
import { AppError, detailOf, type ErrorCode, errorCodes, statusOf, toAppError } from '../errors.ts'

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

export const ErrorCodeView = z.enum(errorCodes).meta({ id: 'ErrorCode' })

const Problem = z
  .object({
    type: z.literal('about:blank'),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: ErrorCodeView,
    requestId: z.string(),
    errors: z
      .array(
        z.object({
          pointer: z.string().describe('JSON pointer into the body, or below `/query`, `/path` or `/header`'),
          message: z.string(),
        }),
      )
      .optional(),
  })
  .meta({
    id: 'Problem',
    example: {
      type: 'about:blank',
      title: 'Unprocessable Content',
      status: 422,
      detail: 'The request does not match the contract.',
      code: 'validation_failed',
      requestId: '0198c1de-6e1f-7c5a-9d35-0a4b6f2f7a11',
      errors: [{ pointer: '/task', message: 'is required' }],
    },
  })

/** Headers of problems, as the document names them. */
export const problemHeaders = {
  Challenge: { schema: { type: 'string' }, description: 'RFC 9110, section 11.6.1' },
  RetryAfter: { schema: { type: 'integer' }, description: 'Seconds' },
} as const

const retryAfter = { 'Retry-After': { $ref: '#/components/headers/RetryAfter' } }
/** By status. */
const headers: Record<string, object> = {
  401: { 'WWW-Authenticate': { $ref: '#/components/headers/Challenge' } },
  429: retryAfter,
  503: retryAfter,
}

/** Entries of a contract for the given refusals, by status. */
export const problemsOf = (codes: readonly ErrorCode[]) =>
  Object.fromEntries(
    Object.entries(Object.groupBy(new Set(codes), (code) => String(statusOf(code)))).map(
      ([status, group = []]) => [
        status,
        {
          description: group.join(', '),
          ...(headers[status] && { headers: headers[status] }),
          content: { 'application/problem+json': { schema: Problem } },
        },
      ],
    ),
  )

/** What Hono and its validators refuse by themselves. */
const httpCodes: Record<number, ErrorCode> = {
  400: 'malformed_json',
  413: 'payload_too_large',
  415: 'unsupported_media_type',
}

/** What belongs to people and not to workspaces. */
const NOT_YOURS = 'There is no such resource, or it is not yours.'

/** The answer to anything thrown. `isOfWorkspace`: by an operation on what belongs to a workspace. */
export const problemResponse = (thrown: unknown, requestId: string, isOfWorkspace = true): Response => {
  const code = thrown instanceof HTTPException ? httpCodes[thrown.status] : undefined
  const error = code ? new AppError(code, { cause: thrown }) : toAppError(thrown)
  const status = statusOf(error.code)
  const body: z.output<typeof Problem> = {
    type: 'about:blank',
    title: titles[status] ?? 'Error',
    status,
    detail: isOfWorkspace || error.message !== detailOf('not_found') ? error.message : NOT_YOURS,
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
