/** An operation of the API: its contract, who may do it and how often, with the middleware that enforces both. */
import { createRoute, type RouteConfig, z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { getCookie } from 'hono/cookie'
import { createMiddleware } from 'hono/factory'
import { HTTPException } from 'hono/http-exception'
import { type Action, keyScopes } from '../actions.ts'
import { isApiKey, readApiKey } from '../api-keys/api-keys.ts'
import { reportRefusal } from '../audit/audit.ts'
import { verifySessionCookie } from '../auth/authjs.ts'
import { verifyAccessToken } from '../auth/tokens.ts'
import { type Ctx, log, type Principal } from '../context.ts'
import type { Env } from '../env.ts'
import { AppError, type ErrorCode, invalidField, isGateRefusal, refusalOf } from '../errors.ts'
import { settleTokens } from '../limits/limits.ts'
import type { PolicyName } from '../limits/policies.ts'
import { languageOf } from '../mail/language.ts'
import type { Role } from '../words.ts'
import { uuid } from './contract.ts'
import { callerOf, limited, networkOf } from './limited.ts'
import { problemsOf } from './problems.ts'
import { type AppEnv, mismatch } from './router.ts'

type RequestParts = NonNullable<RouteConfig['request']>

interface Access {
  /** Default `workspace`. `public` needs no caller, `user` no workspace. */
  scope?: 'workspace' | 'user' | 'public'
  /** Least role; default `viewer`. */
  role?: Role
  /** The workspace is the path's `{id}` and not the header's. */
  workspaceInPath?: boolean
  limits?: readonly PolicyName[]
  /** For what is dangerous: its person has proved themselves within the last 15 minutes, or does so first. */
  stepUp?: boolean
}

interface Contract<Path extends string, Request, Responses> {
  method: RouteConfig['method']
  path: Path
  tag: string
  summary: string
  description?: string
  request?: Request
  responses: Responses
  /** What it refuses besides what follows from access, limits and body. */
  refuses?: readonly ErrorCode[]
}

const workspaceHeader: NonNullable<RouteConfig['parameters']>[number] = {
  name: 'X-Workspace-Id',
  in: 'header',
  required: false,
  description: 'Id of the workspace; may be left out by those who belong to exactly one.',
  // Without `format`: there are generators that can't put a UUID into a header.
  schema: { type: 'string' },
}

/** The refusals that follow from how an operation is reached. */
const derivedRefusals = ({
  method,
  request,
  scope = 'workspace',
  workspaceInPath = false,
  limits = [],
  stepUp = false,
}: Contract<string, RequestParts, unknown> & Access): ErrorCode[] => {
  const changes = method !== 'get'
  const needsCaller = scope !== 'public'
  const inWorkspace = scope === 'workspace'
  const { content = {} } = request?.body ?? {}
  const rules: [boolean, ErrorCode[]][] = [
    [true, ['internal_error', 'misconfigured', 'unavailable']],
    [inWorkspace || changes || request !== undefined, ['validation_failed']],
    [changes, ['unsupported_media_type', 'payload_too_large']],
    [changes && !('multipart/form-data' in content), ['malformed_json']],
    ['multipart/form-data' in content, ['malformed_multipart']],
    [needsCaller, ['unauthorized', 'forbidden']],
    [needsCaller || limits.length > 0, ['rate_limited']],
    [needsCaller && changes, ['origin_not_allowed']],
    [inWorkspace, ['not_found', 'second_factor_required']],
    [stepUp, ['step_up_required']],
    [inWorkspace && !workspaceInPath, ['workspace_required']],
  ]
  return rules.flatMap(([applies, codes]) => (applies ? codes : []))
}

const takesKeys = (action: Action) => new Set<Action>(keyScopes).has(action)

/** Who may, in the words of the reference. */
const describeAccess = (
  action: Action,
  { scope = 'workspace', role = 'viewer', stepUp = false }: Access,
): string => {
  if (scope === 'public') return 'Needs no credentials.'
  const people =
    scope === 'user' ? 'For whoever is signed in.' : `Needs the role \`${role}\` or a higher one.`
  const proof = stepUp ? ' Needs a proof that is not older than 15 minutes (`POST /auth/step-up`).' : ''
  const keys = takesKeys(action) ? `An API key needs the scope \`${action}\`.` : 'Not for API keys.'
  return `${people}${proof} ${keys}`
}

/** The contract of `action` as a route: identity, rights, limits and their refusals are declared and enforced from here. */
export const operation = <
  Path extends string,
  Responses extends RouteConfig['responses'],
  Request extends RequestParts = Record<never, never>,
>(
  action: Action,
  contract: Contract<Path, Request, Responses> & Access,
) => {
  const { tag, summary, description, scope = 'workspace', role = 'viewer', limits = [] } = contract
  const { method, path, request, responses, refuses = [] } = contract
  const shape = {
    method,
    path,
    ...(request && { request }),
    responses: { ...problemsOf([...derivedRefusals(contract), ...refuses]), ...responses },
    operationId: action,
    tags: [tag],
    summary,
    description: [description, describeAccess(action, contract)].filter(Boolean).join('\n\n'),
    security:
      scope === 'public'
        ? []
        : [{ accessToken: [] }, ...(takesKeys(action) ? [{ apiKey: [] }] : []), { authjs: [] }],
    ...(scope === 'workspace' && {
      'x-role': role,
      ...(!contract.workspaceInPath && { parameters: [workspaceHeader] }),
    }),
    ...(limits.length > 0 && { 'x-limits': limits }),
    ...(contract.stepUp && { 'x-step-up': true }),
    middleware: [
      establish(action, contract),
      limited(limits),
      ...(method === 'get' || request?.body ? [] : [refuseBody]),
    ],
  }
  // Typed by the contract's own responses, since refusals are thrown and answered in one place. `as`: a contract
  // without `request` has the type of one that asks for nothing.
  return createRoute<
    Path,
    Pick<typeof shape, 'method' | 'path'> & { request: Request; responses: Responses }
  >(shape as typeof shape & { request: Request })
}

const Nothing = z.strictObject({})

/** For what takes no body: what is sent all the same, as if it did, would be dropped silently. @throws {AppError} malformed_json, validation_failed */
const refuseBody = createMiddleware<AppEnv>(async (c, next) => {
  const text = await c.req.text()
  if (text.trim() === '') return next()
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch (cause) {
    // As Hono does where there is a body.
    throw new HTTPException(400, { cause })
  }
  // Some clients send an empty object with everything.
  const { error } = Nothing.safeParse(body)
  if (!error) return next()
  c.set('mismatched', true)
  throw mismatch(error)
})

/** Makes the verbs' context of a request, and afterwards reports a refused right and settles with the limiter. */
const establish = (
  action: Action,
  { scope = 'workspace', role = 'viewer', workspaceInPath = false, stepUp }: Access,
) =>
  createMiddleware<AppEnv>(async (c, next) => {
    const env = c.get('env')
    const requestId = c.get('requestId')
    const principal: Principal = scope === 'public' ? { type: 'system' } : await authenticate(c)
    const workspaceId = scope === 'workspace' ? namedWorkspace(c, workspaceInPath) : undefined
    const ip = c.req.header('cf-connecting-ip')
    const userAgent = c.req.header('user-agent')?.slice(0, 400).toWellFormed()
    const ctx: Ctx = {
      env,
      principal,
      scope: scope === 'public' ? 'system' : scope,
      workspaceId,
      role,
      ...(stepUp && { stepUp }),
      action,
      request: {
        id: requestId,
        ip,
        network: ip === undefined || isPrivate(ip) ? undefined : networkOf(ip),
        country: countryOf(c.req.raw),
        userAgent,
        language: languageOf(c.req.header('accept-language')),
      },
      database: { requests: 0, milliseconds: 0 },
      limits: [],
      limiterMilliseconds: 0,
      waitUntil: (work) => c.executionCtx.waitUntil(work),
      log: (fields) => log({ requestId, action, ...fields }),
    }
    c.set('ctx', ctx)
    await next()
    const refusal = c.error && refusalOf(c.error)
    if (refusal) await reportRefusal(ctx, refusal)
    // Hono itself refuses what is no JSON.
    const isMismatched = c.get('mismatched') === true || c.error instanceof HTTPException
    const isUnused = isMismatched || isGateRefusal(c.error)
    c.executionCtx.waitUntil(settleTokens(ctx, callerOf(principal), isUnused))
  })

/** Behind a proxy of one's own, or on a laptop: all callers may have the same. */
const isPrivate = (ip: string) => /^(127|10|192\.168|172\.(1[6-9]|2\d|3[01]))\.|^::1$|^f[cd]|^fe80:/i.test(ip)

/** As Cloudflare says: `T1` is Tor's, `XX` nobody's. */
const countryOf = ({ cf }: Request): string | undefined => {
  const country = cf?.country
  return typeof country === 'string' && /^[A-Z]{2}$/.test(country) && country !== 'XX' ? country : undefined
}

/** The workspace that a request names, if it does. @throws {AppError} validation_failed */
const namedWorkspace = (c: Context<AppEnv>, inPath: boolean): string | undefined => {
  const named = inPath ? c.req.param('id') : c.req.header('x-workspace-id')
  if (named !== undefined && !uuid.safeParse(named).success) {
    throw invalidField(inPath ? '/path/id' : '/header/X-Workspace-Id', 'must be a UUID')
  }
  return named?.toLowerCase()
}

/** @throws {AppError} unauthorized, origin_not_allowed */
const authenticate = async (c: Context<AppEnv>): Promise<Principal> => {
  const env = c.get('env')
  const header = c.req.header('authorization')
  const principal =
    header === undefined ? await verifySessionCookie(env, getCookie(c)) : await verifyBearer(env, header)
  if (!principal) throw new AppError('unauthorized')
  // A browser adds cookies to what any site sends, but says which site it was.
  const changes = c.req.method !== 'GET' && c.req.method !== 'HEAD'
  if (principal.type === 'authjs' && changes && !env.ALLOWED_ORIGINS.includes(c.req.header('origin') ?? '')) {
    throw new AppError('origin_not_allowed')
  }
  return principal
}

const verifyBearer = async (env: Env, header: string): Promise<Principal | undefined> => {
  const token = /^Bearer +([\w.~+/=-]+)$/i.exec(header)?.[1] ?? ''
  return isApiKey(token) ? readApiKey(token) : verifyAccessToken(env, token)
}
