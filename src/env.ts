/** The Worker's configuration: bindings as they are, vars and secrets parsed once. */
import { z } from 'zod'
import type { Hasher } from './auth/hasher.ts'
import { Catalogue } from './catalogue/schema.ts'
import type { Feed } from './events/feed.ts'
import type { RateLimiter } from './limits/limiter.ts'
import type { JobMessage, Sweeping } from './outbox/messages.ts'
import type { Breaker } from './providers/breaker.ts'

const url = z.url({ protocol: /^https?$/ })
const origin = url.transform((value) => new URL(value).origin)
const endpoint = url.transform((value) => value.replace(/\/+$/, ''))
const secret = z.string().min(16)
const databaseUrl = z
  .string()
  .regex(/^postgres(ql)?:\/\/[^:]+:[^@]+@/, 'must be a postgres:// URL with user and password')
const authSecret = z.string().min(32).optional()

/** RFC 7517, Ed25519. */
const PublicKey = z.looseObject({
  kty: z.literal('OKP'),
  crv: z.literal('Ed25519'),
  kid: z.string(),
  x: z.string(),
})
const PrivateKey = PublicKey.extend({ d: z.string() })

/** RFC 7517, symmetric. */
const SecretKey = z.looseObject({
  kty: z.literal('oct'),
  kid: z.string().regex(/^[\w-]+$/),
  k: z
    .string()
    .refine((text) => Buffer.from(text, 'base64url').length >= 32, 'must be base64url of 32 bytes or more'),
})

const parsedJson = z.string().transform((text, context): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    context.addIssue('must be JSON')
    return z.NEVER
  }
})

/** By its id a key is found. */
const hasTwins = (keys: readonly { kid: string }[]) => new Set(keys.map(({ kid }) => kid)).size < keys.length

const fallbackKeys = ['S3_FALLBACK_ACCESS_KEY_ID', 'S3_FALLBACK_SECRET_ACCESS_KEY'] as const

const Settings = z
  .object({
    /** Where clients reach this API; issuer and audience of the access tokens. */
    PUBLIC_URL: origin,
    /** Comma-separated origins of front ends. */
    ALLOWED_ORIGINS: z
      .string()
      .default('')
      .transform((value) => value.split(',').flatMap((origin) => origin.trim() || [])),
    /** The front end, where the links of mails lead. */
    APP_URL: endpoint,
    /** Whom mails are from, such as `Shop <no-reply@example.com>`: of a domain that may send by Cloudflare's Email Service. */
    MAIL_FROM: z
      .string()
      .regex(/^[^<>]+ <[^<>@\s]+@[^<>@\s]+>$/, 'must be like: Name <address@example.com>')
      .transform((value) => {
        const [name = '', email = ''] = value.slice(0, -1).split(' <')
        return { name, email }
      }),
    /** A login that is a member of app_tenant, for what is done for a caller or in a workspace. */
    DATABASE_URL: databaseUrl,
    /** A login that is a member of app_system: sign-in, and the sweeper. */
    SYSTEM_DATABASE_URL: databaseUrl,
    /** Signs what the Worker tells the database of its caller; `npm run db:migrate` tells the database. */
    GATE_KEY: z.string().min(32),
    /** The endpoint of Neon's SQL over HTTP, if it is not at the host of DATABASE_URL. */
    DATABASE_HTTP_URL: url.optional(),
    /** Where Durable Objects are made: near the database, whoever asks first. */
    OBJECTS_LOCATION: z.enum(['wnam', 'enam', 'sam', 'weur', 'eeur', 'apac', 'oc', 'afr', 'me']).optional(),
    /** The bucket's URL: path style, also below a path, or virtual host. */
    S3_ENDPOINT: endpoint,
    S3_REGION: z.string().min(1).default('auto'),
    /** Of any length locally, where a server has its own defaults. */
    S3_ACCESS_KEY_ID: z.string().min(1),
    S3_SECRET_ACCESS_KEY: z.string().min(1),
    /** A second bucket, for what would be lost while the first takes nothing; in the same form. */
    S3_FALLBACK_ENDPOINT: endpoint.optional(),
    S3_FALLBACK_REGION: z.string().min(1).default('auto'),
    S3_FALLBACK_ACCESS_KEY_ID: z.string().min(1).optional(),
    S3_FALLBACK_SECRET_ACCESS_KEY: z.string().min(1).optional(),
    /** `any` allows webhooks to private hosts and by http: for local use only. */
    WEBHOOK_TARGETS: z.enum(['public', 'any']).default('public'),
    /** Derives each workspace's secret for the webhooks of single generations. */
    WEBHOOK_SIGNING_KEY: z.string().min(32),
    /** JSON array of symmetric JWKs, for the secrets of second factors: the first encrypts, all decrypt. */
    FACTOR_KEYS: parsedJson.pipe(z.tuple([SecretKey], SecretKey)),
    /** Domain that passkeys belong to: the host of APP_URL, unless it is to be one above. */
    RELYING_PARTY_ID: z
      .string()
      .regex(/^[a-z0-9-]+(\.[a-z0-9-]+)*$/, 'must be a domain')
      .optional(),
    REPLICATE_BASE_URL: url.default('https://api.replicate.com/v1'),
    /** Each provider is one when its key is set. */
    REPLICATE_API_TOKEN: secret.optional(),
    /** Signs Replicate's webhooks (Standard Webhooks); without it none is accepted, and jobs are polled more often. */
    REPLICATE_WEBHOOK_SECRET: z.string().startsWith('whsec_').min(24).optional(),
    FAL_BASE_URL: url.default('https://queue.fal.run'),
    FAL_KEY: secret.optional(),
    /** The keys that verify fal's webhooks. */
    FAL_JWKS_URL: url.default('https://rest.fal.ai/.well-known/jwks.json'),
    OPENAI_BASE_URL: url.default('https://api.openai.com/v1'),
    OPENAI_API_KEY: secret.optional(),
    GEMINI_BASE_URL: url.default('https://generativelanguage.googleapis.com/v1beta'),
    GEMINI_API_KEY: secret.optional(),
    /** A zone that transforms by URL: pictures that are too heavy for the binding, and films, of which the binding makes nothing. */
    IMAGES_URL: origin.optional(),
    CLOUDFLARE_AI_BASE_URL: url.default('https://api.cloudflare.com/client/v4'),
    CLOUDFLARE_ACCOUNT_ID: z.string().min(1).optional(),
    CLOUDFLARE_AI_TOKEN: secret.optional(),
    /** JSON: replaces the built-in catalogue (src/catalogue/offers.ts). */
    MODEL_CATALOGUE: parsedJson.pipe(Catalogue).optional(),
    /** JSON array of private Ed25519 JWKs: the first signs, all verify. */
    ACCESS_TOKEN_KEYS: parsedJson.pipe(z.tuple([PrivateKey], PrivateKey)),
    /** Private Ed25519 JWK: signs the checkpoints of audit logs. */
    AUDIT_SIGNING_KEY: parsedJson.pipe(PrivateKey),
    /** JSON array of public JWKs: earlier ones, whose checkpoints are still to be believed. */
    AUDIT_RETIRED_KEYS: parsedJson.pipe(z.array(PublicKey)).default([]),
    /** The front end's, as Auth.js names them, the highest number newest. Without any, no cookie is accepted. */
    AUTH_SECRET: authSecret,
    AUTH_SECRET_1: authSecret,
    AUTH_SECRET_2: authSecret,
    AUTH_SECRET_3: authSecret,
  })
  .superRefine((settings, context) => {
    for (const path of ['FACTOR_KEYS', 'ACCESS_TOKEN_KEYS', 'AUDIT_RETIRED_KEYS'] as const) {
      if (hasTwins(settings[path])) {
        context.addIssue({
          code: 'custom',
          path: [path],
          message: 'must be keys with a kid of their own each',
        })
      }
    }
    // The public keys of both are published as one set.
    const { ACCESS_TOKEN_KEYS, AUDIT_RETIRED_KEYS, AUDIT_SIGNING_KEY } = settings
    if ([...ACCESS_TOKEN_KEYS, ...AUDIT_RETIRED_KEYS].some(({ kid }) => kid === AUDIT_SIGNING_KEY.kid)) {
      context.addIssue({ code: 'custom', path: ['AUDIT_SIGNING_KEY'], message: 'must have a kid of its own' })
    }
    for (const path of fallbackKeys) {
      if (settings.S3_FALLBACK_ENDPOINT && !settings[path]) {
        context.addIssue({ code: 'custom', path: [path], message: 'must be set with S3_FALLBACK_ENDPOINT' })
      }
    }
    if (settings.S3_FALLBACK_ENDPOINT === settings.S3_ENDPOINT) {
      context.addIssue({
        code: 'custom',
        path: ['S3_FALLBACK_ENDPOINT'],
        message: 'must not be the same bucket as S3_ENDPOINT',
      })
    }
    for (const origin of settings.ALLOWED_ORIGINS) {
      if (!URL.canParse(origin) || new URL(origin).origin !== origin) {
        context.addIssue({
          code: 'custom',
          path: ['ALLOWED_ORIGINS'],
          message: 'must be origins, such as https://app.example.com',
        })
        return
      }
    }
    if (!relyingPartyOf(settings).origins.includes(new URL(settings.APP_URL).origin)) {
      context.addIssue({
        code: 'custom',
        path: ['RELYING_PARTY_ID'],
        message: 'must be the host of APP_URL, or a domain above it',
      })
    }
    if (isLoopback(settings.PUBLIC_URL)) return
    for (const path of ['S3_ACCESS_KEY_ID', 'S3_SECRET_ACCESS_KEY', ...fallbackKeys] as const) {
      if ((settings[path]?.length ?? 16) < 16) {
        context.addIssue({ code: 'custom', path: [path], message: 'must have at least 16 characters' })
      }
    }
    for (const [name, value] of Object.entries(settings)) {
      if (JSON.stringify(value ?? '').includes('local-only')) {
        context.addIssue({
          code: 'custom',
          path: [name],
          message: "must not be the local stack's sample value",
        })
      }
    }
  })
  .transform(({ AUTH_SECRET, AUTH_SECRET_1, AUTH_SECRET_2, AUTH_SECRET_3, ...settings }) => ({
    ...settings,
    /** With the names that the settings of the first have. */
    FALLBACK: settings.S3_FALLBACK_ENDPOINT
      ? {
          S3_ENDPOINT: settings.S3_FALLBACK_ENDPOINT,
          S3_REGION: settings.S3_FALLBACK_REGION,
          S3_ACCESS_KEY_ID: settings.S3_FALLBACK_ACCESS_KEY_ID ?? '',
          S3_SECRET_ACCESS_KEY: settings.S3_FALLBACK_SECRET_ACCESS_KEY ?? '',
        }
      : undefined,
    AUTH_SECRETS: [AUTH_SECRET_3, AUTH_SECRET_2, AUTH_SECRET_1, AUTH_SECRET].flatMap((value) => value ?? []),
  }))

interface Bindings {
  JOBS: Queue<JobMessage>
  DELIVERIES: Queue<JobMessage>
  LASTING: Queue<JobMessage>
  PICTURES: Queue<JobMessage>
  UPLOADS: Queue<JobMessage>
  MAILS: Queue<JobMessage>
  EMAIL: SendEmail
  RATE_LIMITER: DurableObjectNamespace<RateLimiter>
  FEED: DurableObjectNamespace<Feed>
  BREAKER: DurableObjectNamespace<Breaker>
  HASHER: DurableObjectNamespace<Hasher>
  SWEEPER: DurableObjectNamespace<Sweeping>
  ASSETS: Fetcher
  IMAGES: ImagesBinding
}

/** Raw, as the runtime passes it. */
export type RawEnv = Bindings & Record<string, unknown>
export type Env = Readonly<z.output<typeof Settings>> & Bindings

/** Names the settings that are missing or wrong; never their values. */
export class MisconfiguredError extends Error {}

const parsed = new WeakMap<object, Env>()

/** @throws {MisconfiguredError} */
export const parseEnv = (raw: RawEnv): Env => {
  const known = parsed.get(raw)
  if (known) return known
  const result = Settings.safeParse(raw)
  if (!result.success) {
    throw new MisconfiguredError(
      result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; '),
    )
  }
  const env = {
    ...result.data,
    JOBS: raw.JOBS,
    DELIVERIES: raw.DELIVERIES,
    LASTING: raw.LASTING,
    PICTURES: raw.PICTURES,
    UPLOADS: raw.UPLOADS,
    MAILS: raw.MAILS,
    EMAIL: raw.EMAIL,
    RATE_LIMITER: raw.RATE_LIMITER,
    FEED: raw.FEED,
    BREAKER: raw.BREAKER,
    HASHER: raw.HASHER,
    SWEEPER: raw.SWEEPER,
    ASSETS: raw.ASSETS,
    IMAGES: raw.IMAGES,
  }
  parsed.set(raw, env)
  return env
}

/** The Durable Object of that name. */
export const objectOf = <T extends Rpc.DurableObjectBranded | undefined>(
  { OBJECTS_LOCATION: locationHint }: Env,
  namespace: DurableObjectNamespace<T>,
  name: string,
) => namespace.get(namespace.idFromName(name), locationHint && { locationHint })

/** The domain that passkeys belong to (WebAuthn's RP ID), and the front ends whose pages may use them. */
export const relyingPartyOf = (
  settings: Pick<z.output<typeof Settings>, 'ALLOWED_ORIGINS' | 'APP_URL' | 'RELYING_PARTY_ID'>,
) => {
  const { ALLOWED_ORIGINS, APP_URL, RELYING_PARTY_ID } = settings
  const { hostname, origin } = new URL(APP_URL)
  const id = RELYING_PARTY_ID ?? hostname
  const isOurs = (one: string) => `.${new URL(one).hostname}`.endsWith(`.${id}`)
  return { id, origins: [...new Set([origin, ...ALLOWED_ORIGINS])].filter(isOurs) }
}

const isLoopback = (origin: string): boolean => {
  const { hostname } = new URL(origin)
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname)
}
