/** The client of the API that the tests use: every answer must keep the contract. */
import type { Asset, Generation } from '../../client/src/index.ts'
import { checkContract, type Json } from './contract.ts'
import { stack } from './control.ts'
import { type Answer as AnyAnswer, formOf, send } from './send.ts'

export type Answer<T = Json> = AnyAnswer<T>
export type AssetBody = Asset & Json
export type GenerationBody = Omit<Generation, 'outputs'> & Json & { outputs: (AssetBody & { url: string })[] }
export interface Page<T> {
  data: T[]
  nextCursor: string | null
}

interface Identity {
  token?: string | undefined
  workspaceId?: string | undefined
  /** The address that the caller seems to come from, by which some limits count; a random one if none is given. */
  ip?: string | undefined
}

const randomIp = () => `198.51.${Math.floor(Math.random() * 256)}.${Math.floor(Math.random() * 256)}`

/** A form in one piece: bare `workerd` refuses without reading, and then closes on whoever still sends. */
const encode = async (form: FormData) => {
  const response = new Response(form)
  return {
    headers: { 'content-type': response.headers.get('content-type') ?? '' },
    body: await response.bytes(),
  }
}

export const createClient = ({ token, workspaceId, ip = randomIp() }: Identity = {}) => {
  const identity: Record<string, string> = {
    'cf-connecting-ip': ip,
    ...(token && { authorization: `Bearer ${token}` }),
    ...(workspaceId && { 'x-workspace-id': workspaceId }),
  }
  const request = async <T = Json>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<T>> => {
    const whole = body instanceof FormData ? await encode(body) : { body, headers: {} }
    const answer = await send<T>(method, stack.api + path, whole.body, {
      ...identity,
      ...whole.headers,
      ...headers,
    })
    checkContract(method, path.split('?')[0] ?? path, answer)
    return answer
  }
  const api = (path: string) => `/api/v1${path}`
  return {
    token,
    workspaceId,
    ip,
    request,
    get: <T = Json>(path: string, headers?: Record<string, string>) =>
      request<T>('GET', api(path), undefined, headers),
    post: <T = Json>(path: string, body?: unknown, headers?: Record<string, string>) =>
      request<T>('POST', api(path), body, headers),
    patch: <T = Json>(path: string, body: unknown) => request<T>('PATCH', api(path), body),
    delete: <T = Json>(path: string) => request<T>('DELETE', api(path)),
    upload: <T = AssetBody>(name: string, bytes: Uint8Array | string) =>
      request<T>('POST', api('/assets/upload'), formOf(name, bytes)),
    /** For streams, which are read as they come: the bare response. */
    open: (path: string, headers: Record<string, string> = {}, signal?: AbortSignal) =>
      fetch(stack.api + api(path), { headers: { ...identity, ...headers }, signal: signal ?? null }),
    /** The same caller but for these. */
    with: (changes: Identity) => createClient({ token, workspaceId, ip, ...changes }),
  }
}

export type Client = ReturnType<typeof createClient>

/** All entries of a list, page by page. */
export const listAll = async <T>(client: Client, path: string): Promise<T[]> => {
  const entries: T[] = []
  for (let cursor = ''; ; ) {
    const { body } = await client.get<Page<T>>(path + cursor)
    entries.push(...body.data)
    if (body.nextCursor === null) return entries
    cursor = `&cursor=${body.nextCursor}`
  }
}
