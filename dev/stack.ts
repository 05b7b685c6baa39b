/** The local stack but for the Worker: database and model server, and the Worker's settings to reach them. */
import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseEnv } from 'node:util'
import { startModels } from '../models/server.ts'
import { type LocalDatabase, startDatabase } from './postgres/database.ts'

export const PROJECT = resolve(import.meta.dirname, '..')

export interface Stack {
  database: LocalDatabase
  models: Awaited<ReturnType<typeof startModels>>
  /** Vars and secrets for the Worker. */
  settings: Record<string, string>
  stop(): Promise<void>
}

const readSettings = (file: string) => {
  const path = resolve(PROJECT, file)
  // Node's type is that of process.env, which may lack names.
  return existsSync(path) ? (parseEnv(readFileSync(path, 'utf8')) as Record<string, string>) : {}
}

/** Standard Webhooks; the model server signs with it. */
const WEBHOOK_SECRET = `whsec_${Buffer.from('local-only-webhook-secret').toString('base64')}`

export const startStack = async (options: {
  dataDir: string
  databaseUrl?: string | undefined
  /** Start without what an earlier stack left in `dataDir`. */
  reset?: boolean
  /** For tests: nothing is kept. */
  throwAway?: boolean
  publicUrl: string
  /** The bucket's path-style URL. */
  s3Endpoint: string
  log(line: string): void
}): Promise<Stack> => {
  const secrets = {
    ...readSettings('.dev.vars.example'),
    ...(options.throwAway ? {} : readSettings('.dev.vars')),
  }
  const database = await startDatabase({
    dataDir: options.dataDir,
    databaseUrl: options.databaseUrl,
    gateKey: secrets.GATE_KEY ?? '',
    reset: options.reset,
    ...(options.throwAway && { database: `test_${process.pid}`, dropOnStop: true, durable: false }),
    log: options.log,
  })
  try {
    const models = await startModels({
      token: secrets.REPLICATE_API_TOKEN ?? '',
      webhookSecret: WEBHOOK_SECRET,
      // Nobody looks at what tests make.
      ...(options.throwAway && { scale: { film: 0.25, picture: 0.4 } }),
    })
    return {
      database,
      models,
      settings: {
        PUBLIC_URL: options.publicUrl,
        ALLOWED_ORIGINS: 'http://localhost:3000',
        APP_URL: 'http://localhost:3000',
        MAIL_FROM: 'Merchant Content <no-reply@example.com>',
        DATABASE_URL: database.tenantUrl,
        SYSTEM_DATABASE_URL: database.systemUrl,
        DATABASE_HTTP_URL: database.gatewayUrl,
        S3_ENDPOINT: options.s3Endpoint,
        S3_REGION: 'auto',
        REPLICATE_BASE_URL: models.url,
        REPLICATE_WEBHOOK_SECRET: WEBHOOK_SECRET,
        FAL_BASE_URL: models.falUrl,
        FAL_KEY: secrets.REPLICATE_API_TOKEN ?? '',
        FAL_JWKS_URL: models.falJwksUrl,
        GEMINI_BASE_URL: models.geminiUrl,
        GEMINI_API_KEY: secrets.REPLICATE_API_TOKEN ?? '',
        OPENAI_BASE_URL: models.openaiUrl,
        OPENAI_API_KEY: secrets.REPLICATE_API_TOKEN ?? '',
        CLOUDFLARE_AI_BASE_URL: models.cloudflareUrl,
        CLOUDFLARE_ACCOUNT_ID: 'local',
        CLOUDFLARE_AI_TOKEN: secrets.REPLICATE_API_TOKEN ?? '',
        WEBHOOK_TARGETS: 'any',
        ...secrets,
      },
      stop: async () => {
        await models.stop()
        await database.stop()
      },
    }
  } catch (error) {
    await database.stop()
    throw error
  }
}
