/** A small client of the API at any address: for the seed, the demo and the benchmarks, and below the tests' own. */
import type { ErrorCode } from '../src/errors.ts'
import type { GenerationError, GenerationStatus } from '../src/words.ts'

export interface Asset {
  id: string
  name: string
  mimeType: string
  size: number
  sha256: string
}

export interface Generation {
  id: string
  status: GenerationStatus
  progress: number
  task: string
  style: string | null
  outputs: (Asset & { url: string })[]
  error?: GenerationError
  attempts: number
  creditsReserved: number
  creditsCharged: number
  createdAt: string
  startedAt: string | null
  completedAt: string | null
}

export interface Answer<T> {
  status: number
  headers: Headers
  body: T
}

export class ApiError extends Error {
  readonly code: string
  constructor(method: string, path: string, problem: { code: ErrorCode; detail: string; errors?: unknown }) {
    super(
      `${method} ${path}: ${problem.detail} ${problem.errors ? JSON.stringify(problem.errors) : ''}`.trim(),
    )
    this.code = problem.code
  }
}

const isSentAsItIs = (body: unknown): body is BodyInit =>
  typeof body === 'string' || body instanceof Uint8Array || body instanceof FormData

/**
 * Sends one request and reads the answer, whatever its status; an event stream, which may never end, is closed.
 * @throws {TypeError} when nothing answers
 */
export const send = async <T>(
  method: string,
  url: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer<T>> => {
  const isJson = body !== undefined && !isSentAsItIs(body)
  const response = await fetch(url, {
    method,
    redirect: 'manual',
    headers: { ...(isJson && { 'content-type': 'application/json' }), ...headers },
    ...(body !== undefined && { body: isSentAsItIs(body) ? body : JSON.stringify(body) }),
  })
  const type = response.headers.get('content-type') ?? ''
  const isStream = type.startsWith('text/event-stream')
  if (isStream) await response.body?.cancel()
  const text = isStream ? '' : await response.text()
  return {
    status: response.status,
    headers: response.headers,
    // What an answer holds is the caller's to know.
    body: (/[/+]json/.test(type) ? JSON.parse(text) : text) as T,
  }
}

/** The form of an upload. */
export const formOf = (name: string, content: Uint8Array | string): FormData => {
  const form = new FormData()
  // Types of bytes may be backed by shared memory, which a Blob doesn't take; none here are.
  form.append('file', new Blob([content as BlobPart]), name)
  return form
}

/** @throws {ApiError} for problem details; TypeError when nothing answers */
export const createClient = (url: string, token?: string) => {
  const request = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {}
    const answer = await send<T>(method, `${url}/api/v1${path}`, body, headers)
    // Refusals are problem details, declared for every route.
    if (answer.status >= 400) throw new ApiError(method, path, answer.body as never)
    return answer.body
  }
  return {
    register: (account: { email: string; password: string; name?: string }) =>
      request<{ access_token: string; refresh_token: string }>('POST', '/auth/register', account),
    login: (account: { email: string; password: string }) =>
      request<{ access_token: string; refresh_token: string }>('POST', '/auth/login', account),
    me: () => request<{ email: string | null; emailVerified: boolean }>('GET', '/auth/me'),
    askVerification: () => request<unknown>('POST', '/auth/email/verify'),
    confirmEmail: (code: string) => request<unknown>('POST', '/auth/email/verify/confirm', { code }),
    createWorkspace: (name: string) => request<{ id: string }>('POST', '/workspaces', { name }),
    listWorkspaces: () => request<{ data: { id: string }[] }>('GET', '/workspaces'),
    listAssets: () => request<{ data: Asset[] }>('GET', '/assets'),
    upload: (name: string, bytes: Uint8Array) =>
      request<Asset>('POST', '/assets/upload', formOf(name, bytes)),
    generate: (input: Record<string, unknown>) => request<Generation>('POST', '/generations', input),
    listGenerations: (limit: number) => request<{ data: Generation[] }>('GET', `/generations?limit=${limit}`),
    getGeneration: (id: string) => request<Generation>('GET', `/generations/${id}`),
  }
}
