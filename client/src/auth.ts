/** Who asks: an API key, a token from elsewhere, or a session whose tokens are renewed once for all who wait. */
import { ApiError } from './errors.ts'
import type { Tokens } from './types.ts'

/** Where a session's tokens are kept, such as a cookie or a database; several tabs or processes may share one. */
export interface SessionStore {
  load(): Tokens | undefined | Promise<Tokens | undefined>
  /** `undefined`: signed out, or ended. */
  save(tokens: Tokens | undefined): void | Promise<void>
}

export interface Credentials {
  /** A server's key for one workspace, `mck_…`. */
  apiKey?: string | undefined
  /** An access token, or where one comes from: asked before each request, and with the token that was refused. */
  token?: string | ((refused?: string) => string | Promise<string>) | undefined
  /** A session that is to be renewed when its access token has expired. */
  session?: Tokens | SessionStore | undefined
}

export interface Auth {
  token(): string | undefined | Promise<string | undefined>
  /** Makes that `token` answers another one than the refused. @returns whether it does */
  renew(refused: string): Promise<boolean>
}

export const inMemory = (tokens?: Tokens): SessionStore => {
  let kept = tokens
  return {
    load: () => kept,
    save: (changed) => {
      kept = changed
    },
  }
}

/**
 * Asks for new tokens whenever the API refuses the old: no clock is trusted. One refresh serves all calls that wait, and is
 * never aborted: half of one would cost the session (a refresh token is good for one rotation, and a minute's repetitions).
 * @param refresh asks the API @throws {ApiError | ConnectionError}
 */
export const sessionAuth = (
  store: SessionStore,
  refresh: (refreshToken: string) => Promise<Tokens>,
): Auth => {
  let renewing: Promise<boolean> | undefined
  const renew = async (refused: string) => {
    const known = await store.load()
    if (!known) return false
    // Another call, tab or process was faster.
    if (known.access_token !== refused) return true
    try {
      await store.save(await refresh(known.refresh_token))
      return true
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error
      const now = await store.load()
      if (now && now.refresh_token !== known.refresh_token) return true
      await store.save(undefined)
      throw error
    }
  }
  return {
    token: async () => (await store.load())?.access_token,
    renew: (refused) => {
      renewing ??= renew(refused).finally(() => {
        renewing = undefined
      })
      return renewing
    },
  }
}

/** A token from elsewhere. */
export const tokenAuth = (given: NonNullable<Credentials['token']>): Auth => {
  if (typeof given === 'string') return { token: () => given, renew: async () => false }
  let fresh: { refused: string; token: Promise<string> } | undefined
  return {
    token: async () => {
      const token = await given()
      return fresh?.refused === token ? fresh.token : token
    },
    renew: async (refused) => {
      if (fresh?.refused !== refused) fresh = { refused, token: Promise.resolve(given(refused)) }
      try {
        return (await fresh.token) !== refused
      } catch (error) {
        fresh = undefined
        throw error
      }
    },
  }
}
