/** The API as an object: every route by its path, and above them what takes more than one request. */
import { createAssets } from './assets.ts'
import { type Auth, type Credentials, inMemory, sessionAuth, tokenAuth } from './auth.ts'
import { ApiError } from './errors.ts'
import { type EventOptions, streamEvents } from './events.ts'
import { createGenerations } from './generations.ts'
import { type Call, createHttp, type Http, type HttpOptions } from './http.ts'
import type {
  Arguments,
  Body,
  CallOptions,
  GenerationEvent,
  Item,
  ListPath,
  Method,
  PathOf,
  Result,
  Schemas,
  Tokens,
} from './types.ts'

export type ClientOptions = HttpOptions & Credentials

type Options = CallOptions & { path?: Record<string, string>; query?: object; body?: unknown }

const toCall = (method: Method, path: string, options?: object): Call => {
  // `as`: what all of the generated types come to.
  const given: Options = { ...(options as Options | undefined) }
  return { ...given, method: method.toUpperCase(), path, params: given.path }
}

export class MerchantClient {
  readonly generations: ReturnType<typeof createGenerations>
  readonly assets: ReturnType<typeof createAssets>
  readonly #options: ClientOptions
  readonly #store
  readonly #auth: Auth
  readonly #http: Http

  /** @param shared the credentials of another client, by `with` */
  constructor(options: ClientOptions, shared?: { store: ReturnType<typeof inMemory>; auth: Auth }) {
    const { apiKey, token, session } = options
    this.#options = options
    this.#store = shared?.store ?? (session && 'load' in session ? session : inMemory(session))
    const anonymous = createHttp(options, undefined)
    const given = apiKey ?? token
    this.#auth =
      shared?.auth ??
      (given
        ? tokenAuth(given)
        : sessionAuth(this.#store, (refresh_token) =>
            anonymous.json<Tokens>({ method: 'POST', path: '/auth/refresh', body: { refresh_token } }),
          ))
    this.#http = createHttp(options, this.#auth)
    this.generations = createGenerations(this.#http)
    this.assets = createAssets(this.#http)
  }

  get<P extends PathOf<'get'>>(path: P, ...[options]: Arguments<'get', P>): Promise<Result<'get', P>> {
    return this.#http.json(toCall('get', path, options))
  }
  post<P extends PathOf<'post'>>(path: P, ...[options]: Arguments<'post', P>): Promise<Result<'post', P>> {
    return this.#http.json(toCall('post', path, options))
  }
  patch<P extends PathOf<'patch'>>(
    path: P,
    ...[options]: Arguments<'patch', P>
  ): Promise<Result<'patch', P>> {
    return this.#http.json(toCall('patch', path, options))
  }
  delete<P extends PathOf<'delete'>>(
    path: P,
    ...[options]: Arguments<'delete', P>
  ): Promise<Result<'delete', P>> {
    return this.#http.json(toCall('delete', path, options))
  }

  /** The bare answer of what is no JSON, such as `/audit-logs/export`, as soon as it begins. */
  open<P extends PathOf<'get'>>(path: P, ...[options]: Arguments<'get', P>): Promise<Response> {
    return this.#http.raw(toCall('get', path, options))
  }

  /** The pages of a list, each when it is asked for. */
  async *pages<P extends ListPath>(path: P, ...[options]: Arguments<'get', P>): AsyncGenerator<Item<P>[]> {
    const first = toCall('get', path, options)
    let cursor: string | null | undefined
    do {
      const call = { ...first, query: { ...first.query, ...(cursor && { cursor }) } }
      const page = await this.#http.json<{ data: Item<P>[]; nextCursor: string | null }>(call)
      yield page.data
      cursor = page.nextCursor
    } while (cursor)
  }

  /** The entries of a list, page by page. */
  async *list<P extends ListPath>(path: P, ...args: Arguments<'get', P>): AsyncGenerator<Item<P>> {
    for await (const page of this.pages(path, ...args)) yield* page
  }

  /** What happens to all jobs of the workspace, or to one, across lost connections. */
  events(options: EventOptions = {}): AsyncGenerator<GenerationEvent, void, undefined> {
    return streamEvents(this.#http, options)
  }

  /**
   * Signs in, and goes on as whoever that is.
   * @returns undefined, or of somebody with a second factor what `confirmSignIn` takes
   */
  async signIn(body: Body<'/auth/login'>): Promise<Schemas['SecondStep'] | undefined> {
    const answer = await this.#enter<Schemas['SignedIn'] | Schemas['SecondStep']>('/auth/login', body)
    return 'mfa_token' in answer ? answer : undefined
  }

  /** The second step: the `mfa_token` with a code, or with what a passkey has signed. */
  async confirmSignIn(body: Body<'/auth/login/mfa'>): Promise<void> {
    await this.#enter<Schemas['SignedIn']>('/auth/login/mfa', body)
  }

  async signUp(body: Body<'/auth/register'>): Promise<Schemas['User']> {
    return (await this.#enter<Schemas['SignedIn'] & { user: Schemas['User'] }>('/auth/register', body)).user
  }

  /** Ends the session, here even if the API can't be told. */
  async signOut(): Promise<void> {
    try {
      if (await this.#store.load()) await this.post('/auth/logout')
    } catch (error) {
      // It has ended by itself.
      if (!(error instanceof ApiError) || error.status !== 401) throw error
    } finally {
      await this.#store.save(undefined)
    }
  }

  /** Keeps the tokens of an answer that has some. */
  async #enter<T extends object>(path: string, body: object): Promise<T> {
    const answer = await this.#http.json<T>({ method: 'POST', path, body, anonymous: true })
    if ('access_token' in answer) {
      // `as`: what such an answer has, with the user of a new account.
      const { user: _, ...tokens } = answer as unknown as Tokens & { user?: unknown }
      await this.#store.save(tokens)
    }
    return answer
  }

  /** The same caller elsewhere, or with other settings. */
  with(changes: Partial<HttpOptions>): MerchantClient {
    return new MerchantClient({ ...this.#options, ...changes }, { store: this.#store, auth: this.#auth })
  }
}
