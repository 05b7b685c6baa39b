/** The router that every domain's routes are made with: its variables, and how it reports what does not fit a contract. */
import { createRoute, OpenAPIHono } from '@hono/zod-openapi'
import type { Ctx } from '../context.ts'
import type { Env, RawEnv } from '../env.ts'
import { AppError } from '../errors.ts'

export { createRoute }

export interface AppEnv {
  Bindings: RawEnv
  Variables: { env: Env; requestId: string; ctx: Ctx }
}

/** The problem's entries are JSON pointers (RFC 6901) into the body, or below `/query`, `/path` or `/header`. */
export const createRouter = () =>
  new OpenAPIHono<AppEnv>({
    defaultHook: (result) => {
      if (result.success) return
      const base = result.target === 'json' ? '' : `/${result.target === 'param' ? 'path' : result.target}`
      const token = (key: PropertyKey) => String(key).replaceAll('~', '~0').replaceAll('/', '~1')
      throw new AppError('validation_failed', {
        errors: result.error.issues.slice(0, 20).flatMap((issue) => {
          const at = [base, ...issue.path.map(token)].join('/')
          return issue.code === 'unrecognized_keys'
            ? issue.keys
                .slice(0, 20)
                .map((key) => ({ pointer: `${at}/${token(key)}`, message: 'is not a known field' }))
            : [{ pointer: at, message: issue.message }]
        }),
      })
    },
  })
