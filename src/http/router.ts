/** The router that every domain's routes are made with: its variables, and how it reports what does not fit a contract. */
import { OpenAPIHono, z } from '@hono/zod-openapi'
import type { Router } from 'hono/router'
import { RegExpRouter } from 'hono/router/reg-exp-router'
import type { Ctx } from '../context.ts'
import type { Env, RawEnv } from '../env.ts'
import { AppError } from '../errors.ts'

export interface AppEnv {
  Bindings: RawEnv
  Variables: {
    env: Env
    requestId: string
    ctx: Ctx
    /** A contract's validator refused the request, so its handler never saw it. */
    mismatched?: true
  }
}

// zod's own words name JavaScript's `undefined`.
z.config({
  customError: ({ code, input }) =>
    code === 'invalid_type' && input === undefined ? 'is required' : undefined,
})

/** A reference token of a JSON pointer (RFC 6901). */
const toToken = (key: PropertyKey) => String(key).replaceAll('~', '~0').replaceAll('/', '~1')

/** Entries of one problem, and of unknown fields in one place. */
const MAX_REPORTED = 20

/**
 * What a route spells out is not also an id in the path of another. By itself Hono's fastest router takes no routes that
 * could be both.
 */
class SpelledOutFirst<T> implements Router<T> {
  readonly name = 'SpelledOutFirst'
  private readonly paths = new Set<string>()
  private readonly spelledOut = new RegExpRouter<T>()
  private readonly others = new RegExpRouter<T>()

  add(method: string, path: string, handler: T): void {
    const isPattern = /[:*]/.test(path)
    if (!isPattern) this.paths.add(path)
    // Middleware is of both.
    if (!path.includes(':')) this.spelledOut.add(method, path, handler)
    if (isPattern) this.others.add(method, path, handler)
  }

  match(method: string, path: string) {
    return (this.paths.has(path) ? this.spelledOut : this.others).match(method, path)
  }
}

/** The problem's entries are JSON pointers into the body, or below `/query`, `/path` or `/header`. */
export const createRouter = () =>
  new OpenAPIHono<AppEnv>({
    router: new SpelledOutFirst(),
    defaultHook: (result, c) => {
      if (result.success) return
      c.set('mismatched', true)
      const base = result.target === 'json' ? '' : `/${result.target === 'param' ? 'path' : result.target}`
      throw new AppError('validation_failed', {
        errors: result.error.issues.slice(0, MAX_REPORTED).flatMap((issue) => {
          const at = [base, ...issue.path.map(toToken)].join('/')
          if (issue.code !== 'unrecognized_keys') return [{ pointer: at, message: issue.message }]
          return issue.keys
            .slice(0, MAX_REPORTED)
            .map((key) => ({ pointer: `${at}/${toToken(key)}`, message: 'is not a known field' }))
        }),
      })
    },
  })
