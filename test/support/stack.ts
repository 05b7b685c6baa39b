/** One throw-away stack for all tests: the local stack's services, storage and the Worker under test. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { createTestHarness } from 'wrangler'
import { freePort } from '../../dev/child.ts'
import { startStack } from '../../dev/stack.ts'
import { bucketUrl, startStorage } from '../../dev/storage.ts'

export interface StackAddresses {
  api: string
  control: string
  models: string
  /** Owner's login: looks behind row-level security. */
  adminDatabase: string
  /** The Worker's login. */
  tenantDatabase: string
  systemDatabase: string
  gateKey: string
  /** Where the Worker's driver finds it. */
  databaseGateway: string
  replicateToken: string
  /** The front end's secrets are in rotation: this one and the local stack's. */
  newAuthSecret: string
  webhookSecret: string
}

declare module 'vitest' {
  interface ProvidedContext {
    stack: StackAddresses
  }
}

const configPath = new URL('../../wrangler.toml', import.meta.url)

export default async (project: TestProject) => {
  process.env.WRANGLER_SEND_METRICS = 'false'
  const dataDir = mkdtempSync(join(tmpdir(), 'content-api-test-'))
  // PostgreSQL refuses to run as root, so its own user must get in.
  chmodSync(dataDir, 0o755)
  const storagePort = await freePort()
  const stack = await startStack({
    dataDir,
    databaseUrl: process.env.DATABASE_URL,
    throwAway: true,
    publicUrl: 'http://127.0.0.1',
    s3Endpoint: bucketUrl(storagePort),
    log: () => undefined,
  })
  const storage = await startStorage({ port: storagePort, dataDir, settings: stack.settings })
  const newAuthSecret = 'local-only-auth-secret-that-is-newer'
  const secrets = { ...stack.settings, AUTH_SECRET_1: newAuthSecret }
  const worker = createTestHarness({ workers: [{ configPath, secrets }] })
  const { url } = await worker.listen()

  /** What tests in other processes ask of the harness. */
  const operations: Record<string, (argument: never) => unknown> = {
    /** Runs the sweeper. */
    cron: () => worker.getWorker().scheduled({ cron: '* * * * *' }),
    /** Puts messages on the queue, as they are. */
    enqueue: async (messages: unknown[]) => {
      const env = await worker.getWorker().getEnv()
      await env.JOBS.sendBatch(messages.map((body) => ({ body })))
    },
    /** Takes tokens of one bucket, as the Worker does. */
    take: async ({
      name,
      count = 1,
      ...take
    }: {
      name: string
      count?: number
      limit: number
      period: number
      cost: number
    }) => {
      const limiters = (await worker.getWorker().getEnv()).RATE_LIMITER
      const limiter = limiters.get(limiters.idFromName(name))
      return Promise.all(Array.from({ length: count }, () => limiter.take(take)))
    },
    /** Tells a circuit breaker how calls went, and asks it whether it admits the next. */
    breaker: async ({ name, reports }: { name: string; reports: { succeeded: boolean }[] }) => {
      const breakers = (await worker.getWorker().getEnv()).BREAKER
      const breaker = breakers.get(breakers.idFromName(name))
      for (const one of reports) await breaker.report(one)
      return breaker.admits()
    },
    evict: ({ name }: { name: string }) => worker.getWorker().evictDurableObject('RateLimiter', { name }),
    failDatabase: ({ count, kind }: { count: number; kind: 'unreachable' | 'after_commit' }) =>
      stack.database.failNext(count, kind),
    logs: () => worker.getLogs().map((entry) => entry.message),
  }
  const control = createServer(async (request, response) => {
    try {
      const operation = operations[String(request.url).slice(1)]
      if (!operation) throw new Error(`no operation ${request.url}`)
      const body = Buffer.concat(await Array.fromAsync(request)).toString()
      const result = await operation((body ? JSON.parse(body) : undefined) as never)
      response.end(JSON.stringify(result ?? null))
    } catch (error) {
      response.writeHead(500).end(String(error))
    }
  })
  await new Promise<void>((resolve) => control.listen(0, '127.0.0.1', resolve))

  project.provide('stack', {
    api: url.origin,
    control: `http://127.0.0.1:${(control.address() as AddressInfo).port}`,
    models: stack.models.origin,
    adminDatabase: stack.database.adminUrl,
    tenantDatabase: stack.database.tenantUrl,
    systemDatabase: stack.database.systemUrl,
    gateKey: stack.settings.GATE_KEY ?? '',
    databaseGateway: stack.settings.DATABASE_HTTP_URL as string,
    replicateToken: stack.settings.REPLICATE_API_TOKEN as string,
    newAuthSecret,
    webhookSecret: stack.settings.REPLICATE_WEBHOOK_SECRET as string,
  })

  return async () => {
    control.close()
    await worker.close()
    await storage.stop()
    await stack.stop()
    rmSync(dataDir, { recursive: true, force: true })
  }
}
