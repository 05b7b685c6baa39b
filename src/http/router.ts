/** The router that every domain's routes are made with: its variables, and how it reports what does not fit a contract. */
import { OpenAPIHono, z } from '@hono/zod-openapi'
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

/** The problem's entries are JSON pointers into the body, or below `/query`, `/path` or `/header`. */
export const createRouter = () =>
  new OpenAPIHono<AppEnv>({
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
