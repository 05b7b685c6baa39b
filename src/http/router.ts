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

const types: Record<string, string> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
}

const formats: Record<string, string> = {
  uuid: 'a UUID',
  email: 'an e-mail address',
  url: 'a URL',
  datetime: 'a time, such as 2026-01-31T12:00:00Z',
}

/** What may be counted, or compared, of each. */
const sayBound = (origin: string, bound: string, limit: number | bigint) => {
  const units: Record<string, string> = { string: 'character', array: 'entry', file: 'byte' }
  const unit = units[origin]
  if (!unit) return `must be ${bound} ${limit}`
  const many = unit === 'entry' ? 'entries' : `${unit}s`
  return `must have ${bound} ${limit} ${Number(limit) === 1 ? unit : many}`
}

/** In the words of the API, in the place of zod's own, which are JavaScript's. */
const sayIssue = (issue: z.core.$ZodRawIssue): string | undefined => {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? 'is required' : `must be ${types[issue.expected] ?? issue.expected}`
    case 'too_small':
      return sayBound(issue.origin, issue.inclusive ? 'at least' : 'more than', issue.minimum)
    case 'too_big':
      return sayBound(issue.origin, issue.inclusive ? 'at most' : 'less than', issue.maximum)
    case 'invalid_format':
      return formats[issue.format] && `must be ${formats[issue.format]}`
    case 'invalid_value':
      return `must be ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map(String).join(', ')}`
    default:
      return undefined
  }
}

z.config({ customError: sayIssue })

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

/** The refusal of what does not fit a contract: its entries are JSON pointers into the body, or what `base` names. */
export const mismatch = ({ issues }: z.core.$ZodError, base = ''): AppError =>
  new AppError('validation_failed', {
    errors: issues.slice(0, MAX_REPORTED).flatMap((issue) => {
      const at = [base, ...issue.path.map(toToken)].join('/')
      if (issue.code !== 'unrecognized_keys') return [{ pointer: at, message: issue.message }]
      return issue.keys
        .slice(0, MAX_REPORTED)
        .map((key) => ({ pointer: `${at}/${toToken(key)}`, message: 'is not a known field' }))
    }),
  })

export const createRouter = () =>
  new OpenAPIHono<AppEnv>({
    router: new SpelledOutFirst(),
    defaultHook: (result, c) => {
      if (result.success) return
      c.set('mismatched', true)
      const { target, error } = result
      throw mismatch(error, target === 'json' ? '' : `/${target === 'param' ? 'path' : target}`)
    },
  })
