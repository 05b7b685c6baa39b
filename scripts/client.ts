/** A small client of the API, for the seed, the demo and the benchmarks. */
import type { ErrorCode } from '../src/errors.ts'

export interface Asset {
  id: string
  name: string
  mimeType: string
  size: number
  sha256: string
}

export interface Generation {
  id: string
  status: 'queued' | 'running' | 'succeeded' | 'failed' | 'canceled'
  progress: number
  style: string | null
  outputs: (Asset & { url: string })[]
  error?: { code: string; message: string }
  creditsCharged: number
  createdAt: string
  startedAt: string | null
  completedAt: string | null
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

/** @throws {ApiError} for problem details; TypeError when nothing answers */
export const createClient = (url: string, token?: string) => {
  const request = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    const response = await fetch(`${url}/api/v1${path}`, {
      method,
      headers: {
        ...(token && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && !(body instanceof FormData) && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: body instanceof FormData ? body : JSON.stringify(body) }),
    })
    const answer = response.status === 204 ? undefined : await response.json()
    if (!response.ok) throw new ApiError(method, path, answer as never)
    return answer as T
  }
  return {
    register: (account: { email: string; password: string; name?: string }) =>
      request<{ access_token: string }>('POST', '/auth/register', account),
    login: (account: { email: string; password: string }) =>
      request<{ access_token: string }>('POST', '/auth/login', account),
    createWorkspace: (name: string) => request<{ id: string }>('POST', '/workspaces', { name }),
    listWorkspaces: () => request<{ data: { id: string }[] }>('GET', '/workspaces'),
    listAssets: () => request<{ data: Asset[] }>('GET', '/assets'),
    upload: (name: string, bytes: Uint8Array<ArrayBuffer>) => {
      const form = new FormData()
      form.append('file', new Blob([bytes]), name)
      return request<Asset>('POST', '/assets/upload', form)
    },
    generate: (input: Record<string, unknown>) => request<Generation>('POST', '/generations', input),
    listGenerations: (limit: number) => request<{ data: Generation[] }>('GET', `/generations?limit=${limit}`),
    getGeneration: (id: string) => request<Generation>('GET', `/generations/${id}`),
  }
}
