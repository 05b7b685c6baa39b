/** A stack of a test file's own that can be hurt: the Worker, storage and the database, each by itself. */
import { createHash } from 'node:crypto'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Webhook } from 'standardwebhooks'
import { expect } from 'vitest'
import { freePort } from '../../dev/child.ts'
import { startStack } from '../../dev/stack.ts'
import { bucketUrl, s3Of, startStorage } from '../../dev/storage.ts'
import { startWorker } from '../../dev/worker.ts'
import { withClient } from '../../scripts/migrate.ts'
import type { GenerationBody } from './client.ts'
import { merchantAt } from './merchant.ts'
import { newEmail, PASSWORD } from './tenants.ts'
import { waitFor } from './wait-for.ts'

/** Strikes the database requests that contain all of `texts`: before anything runs, once it is committed, or never. */
interface DatabaseFault {
  texts: string[]
  kind: 'unreachable' | 'after_commit' | 'none'
  times: number
  hits: number
  /** Of the hits, those that are over. */
  done: number
}

/** In front of the database's gateway, so that a fault can be meant for one job and one step. */
const startProxy = async (gateway: string) => {
  const faults: DatabaseFault[] = []
  let watch: (body: string) => Promise<void> = async () => undefined
  const forward = async (headers: IncomingHttpHeaders, body: string) => {
    const passed = Object.entries(headers).filter(
      ([name]) => name.startsWith('neon-') || name === 'content-type',
    )
    const answer = await fetch(gateway, {
      method: 'POST',
      headers: Object.fromEntries(passed) as Record<string, string>,
      body,
    })
    return { status: answer.status, text: await answer.text() }
  }
  const server = createServer(async (request, response) => {
    try {
      const body = Buffer.concat(await Array.fromAsync(request)).toString()
      const fault = faults.find(
        ({ texts, hits, times }) => hits < times && texts.every((text) => body.includes(text)),
      )
      if (fault) fault.hits++
      if (fault?.kind === 'unreachable') {
        response.writeHead(503, { 'content-type': 'application/json' }).end('{"message":"unreachable"}')
        fault.done++
        return
      }
      await watch(body)
      const { status, text } = await forward(request.headers, body)
      if (fault) fault.done++
      if (fault?.kind === 'after_commit') request.socket.destroy()
      else response.writeHead(status, { 'content-type': 'application/json' }).end(text)
    } catch {
      request.socket.destroy()
    }
  })
  server.keepAliveTimeout = 600_000
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/sql`,
    fail(texts: string[], kind: DatabaseFault['kind'], times = 1) {
      const fault: DatabaseFault = { texts, kind, times, hits: 0, done: 0 }
      faults.push(fault)
      return fault
    },
    /** Sees every request, and holds it for as long as it likes, or forever. */
    onRequest(watcher: typeof watch) {
      watch = watcher
    },
    stop() {
      server.close()
      server.closeAllConnections()
    },
  }
}

/** What the requests of single steps contain. */
export const steps = {
  claim: String.raw`\"what\":\"claim\"`,
  keep: String.raw`\"what\":\"keep_operation\"`,
  settle: 'generation.succeed',
}

/** Settings that differ from the local stack's; undefined takes one away. */
type SettingChanges = Record<string, string | undefined>

export const startFaultStack = async (changes: SettingChanges = {}) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'content-api-faults-'))
  chmodSync(dataDir, 0o755)
  const [port, storagePort] = [await freePort(), await freePort()]
  const bucket = bucketUrl(storagePort)
  const stack = await startStack({
    dataDir,
    databaseUrl: process.env.DATABASE_URL,
    throwAway: true,
    publicUrl: `http://127.0.0.1:${port}`,
    s3Endpoint: bucket,
    log: () => undefined,
  })
  const proxy = await startProxy(stack.database.gatewayUrl)
  const settings: Record<string, string> = { ...stack.settings, DATABASE_HTTP_URL: proxy.url }
  const change = (changed: SettingChanges) => {
    for (const [name, value] of Object.entries(changed)) {
      if (value === undefined) delete settings[name]
      else settings[name] = value
    }
  }
  change(changes)
  const startBucket = () => startStorage({ port: storagePort, dataDir, settings })
  const startApi = () => startWorker({ port, dataDir, settings })
  let [storage, worker] = [await startBucket(), await startApi()]
  const keep = s3Of(settings)

  const query = <T extends object>(sql: string, parameters: unknown[] = []) =>
    withClient(stack.database.adminUrl, async (client) => (await client.query<T>(sql, parameters)).rows)
  const logs = () => readFileSync(worker.logPath, 'utf8')
  const sweep = () => fetch(`${worker.url}/cdn-cgi/local/scheduled`)
  const tenants: Tenant[] = []

  const newTenant = async (plan = 'pro') => {
    const email = newEmail()
    const account = { email, password: PASSWORD }
    const { access_token: token } = await merchantAt(worker.url).post('/auth/register', { body: account })
    // Free credits are for who has proved their address.
    await query('update users set email_verified_at = now() where email = $1', [email])
    const client = merchantAt(worker.url, token)
    const { id } = await client.post('/workspaces', { body: { name: 'Faulty' } })
    await query('update workspaces set plan = $2 where id = $1', [id, plan])
    const ask = async <T>(method: string, path: string, body?: unknown) => {
      const answer = await fetch(`${worker.url}/api/v1${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      })
      return { status: answer.status, body: (await answer.json()) as T }
    }
    const get = async (job: string) => (await ask<GenerationBody>('GET', `/generations/${job}`)).body
    const tenant = {
      id,
      ask,
      get,
      upload: async (bytes: Uint8Array) => (await client.assets.upload(bytes, { name: 'photo.jpg' })).id,
      async generate(input: object = {}) {
        const { status, body } = await ask<GenerationBody>('POST', '/generations', {
          task: 'scene',
          prompt: id,
          ...input,
        })
        expect(status).toBe(202)
        return body
      },
      cancel: (job: string) => ask<GenerationBody>('POST', `/generations/${job}/cancel`),
      finished: (job: string, patience = 30_000) =>
        waitFor(
          `generation ${job} finishes`,
          async () => {
            const now = await get(job)
            return ['succeeded', 'failed', 'canceled'].includes(now.status) && now
          },
          patience,
        ),
    }
    tenants.push(tenant)
    return tenant
  }

  return {
    query,
    sweep,
    logs,
    newTenant,
    failDatabase: proxy.fail,
    onDatabaseRequest: proxy.onRequest,
    breakModels: async (fault: object) => {
      const body = JSON.stringify(fault)
      const { status } = await fetch(`${stack.models.origin}/faults`, { method: 'POST', body })
      expect(status).toBe(204)
    },
    /** Another message about the job, by the door that providers use. */
    async wake(workspaceId: string, generationId: string) {
      const body = '{}'
      const [id, now] = [crypto.randomUUID(), new Date()]
      const url = `${worker.url}/api/v1/providers/replicate/webhook?workspaceId=${workspaceId}&generationId=${generationId}&jobId=${crypto.randomUUID()}`
      const { status } = await fetch(url, {
        method: 'POST',
        body,
        headers: {
          'content-type': 'application/json',
          'webhook-id': id,
          'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
          'webhook-signature': new Webhook(settings.REPLICATE_WEBHOOK_SECRET as string).sign(id, now, body),
        },
      })
      expect(status).toBe(204)
    },
    /** Lets the time pass that a consumer which gave up, or died, would have held this workspace's jobs for. */
    async passLease(workspaceId: string, takenBefore = new Date()) {
      await query(
        `update generations set lease_expires_at = null, next_step_at = null
          where workspace_id = $1 and status = 'running'
            and (lease_expires_at is null or lease_expires_at < $2::timestamptz + interval '60 seconds')`,
        [workspaceId, takenBefore],
      )
      // Nor can anything come any more of calls whose answers died with it.
      await query(
        `update provider_jobs set expires_at = now()
          where workspace_id = $1 and status = 'submitting' and operation is null and created_at < $2::timestamptz`,
        [workspaceId, takenBefore],
      )
      await query('update outbox set available_at = now() where workspace_id = $1', [workspaceId])
      await sweep()
    },
    killWorker: () => worker.kill(),
    async startWorker() {
      worker = await startApi()
    },
    /** The Worker with other settings. */
    async restart(changed: SettingChanges) {
      await worker.kill()
      change(changed)
      worker = await startApi()
    },
    url: () => worker.url,
    models: stack.models,
    killStorage: () => storage.kill(),
    async startStorage() {
      storage = await startBucket()
    },
    async submissions() {
      const answer = await fetch(`${stack.models.origin}/stats`)
      return ((await answer.json()) as { submissions: number }).submissions
    },
    /** What providers were sent, newest first. */
    async sent() {
      const answer = await fetch(`${stack.models.origin}/submissions`)
      return (await answer.json()) as Sent[]
    },
    /** What Replicate was asked with this prompt. */
    async predictionsOf(prompt: string) {
      const answer = await fetch(`${stack.models.url}/predictions`, {
        headers: { authorization: `Bearer ${settings.REPLICATE_API_TOKEN}` },
      })
      const { results } = (await answer.json()) as { results: Prediction[] }
      return results.filter(({ input }) => input.prompt?.includes(prompt))
    },
    /** One truthful end: events, ledger and outputs agree with the status. */
    async checkEnd(tenant: Tenant, id: string) {
      const job = await tenant.get(id)
      const events = await query<{ type: string }>(
        'select type from generation_events where generation_id = $1 order by sequence',
        [id],
      )
      const ends = events.filter(({ type }) => ['succeeded', 'failed', 'canceled'].includes(type))
      expect([events[0]?.type, events.at(-1)?.type]).toEqual(['queued', job.status])
      expect(ends).toHaveLength(1)
      const ledger = await query<{ kind: string; credits: number }>(
        'select kind, credits from credit_entries where generation_id = $1',
        [id],
      )
      const { charge = 0, refund = 0, reserve } = Object.fromEntries(ledger.map((e) => [e.kind, e.credits]))
      expect({ charge, settled: charge + refund }).toEqual({ charge: job.creditsCharged, settled: reserve })
      expect(ledger).toHaveLength(new Set(ledger.map(({ kind }) => kind)).size)
      expect(job.outputs.length > 0, job.status).toBe(job.status === 'succeeded')
      expect(charge > 0, job.status).toBe(job.status === 'succeeded')
      for (const { url, sha256 } of job.outputs) {
        const bytes = Buffer.from(await (await fetch(url)).arrayBuffer())
        expect(createHash('sha256').update(bytes).digest('hex')).toBe(sha256)
      }
      return job
    },
    /** Once the time of every note has come: nothing owed, no orphan, no gap, and all ledgers add up. */
    async checkEverything() {
      expect(await query(`select id from generations where completed_at is null`)).toEqual([])
      expect(await query('select * from app.wrong_counters()')).toEqual([])
      await query('update outbox set available_at = now(), sends = 0')
      await sweep()
      await waitFor('nothing is owed', async () => (await query('select from outbox')).length === 0)
      const listing = await (await keep.fetch(`${bucket}?list-type=2&max-keys=1000`)).text()
      const stored = [...listing.matchAll(/<Key>[^<]*\/assets\/([^<]+)<\/Key>/g)].map(([, id]) => id)
      const assets = await query<{ id: string }>('select distinct object_id as id from assets')
      expect(stored.sort()).toEqual(assets.map(({ id }) => id).sort())
      expect(
        await query(`select a.id from assets a where a.source = 'generation' and not exists (select from generation_outputs o
          join generations g on g.id = o.generation_id where o.asset_id = a.id and g.status = 'succeeded')`),
      ).toEqual([])
      expect(
        await query(`select o.asset_id from generation_outputs o where not exists (select from provider_jobs j
          where j.generation_id = o.generation_id and j.stored @> jsonb_build_array(jsonb_build_object('index', o.index)))`),
      ).toEqual([])
      expect(
        await query(`select workspace_id from generation_events group by workspace_id
          having max(sequence) <> count(*) or min(sequence) <> 1`),
      ).toEqual([])
      expect(
        await query(`select g.id from generations g join credit_entries e on e.generation_id = g.id
          group by g.id, g.credits_charged
          having sum(case e.kind when 'reserve' then e.credits else -e.credits end) <> 0
              or coalesce(sum(e.credits) filter (where e.kind = 'charge'), 0) <> g.credits_charged`),
      ).toEqual([])
      for (const { id, ask } of tenants) {
        const { body } = await ask<{ credits: object }>('GET', '/usage')
        const [sum] = await query<{ charged: number }>(
          'select coalesce(sum(credits_charged), 0)::int as charged from generations where workspace_id = $1',
          [id],
        )
        expect(body.credits).toMatchObject({ reserved: 0, charged: sum?.charged })
      }
    },
    async stop() {
      await worker.kill()
      await storage.kill()
      proxy.stop()
      await stack.stop()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

interface Prediction {
  input: { prompt?: string }
  status: string
  completed_at?: string
}

/** As a provider got it; files by their size. */
export interface Sent {
  provider: string
  model: string
  input: Record<string, unknown>
}

interface Tenant {
  id: string
  upload(bytes: Uint8Array): Promise<string>
  ask: <T>(method: string, path: string, body?: unknown) => Promise<{ status: number; body: T }>
  get(job: string): Promise<GenerationBody>
  generate(input?: object): Promise<GenerationBody>
  cancel(job: string): Promise<{ status: number; body: GenerationBody }>
  finished(job: string, patience?: number): Promise<GenerationBody>
}
export type FaultStack = Awaited<ReturnType<typeof startFaultStack>>
