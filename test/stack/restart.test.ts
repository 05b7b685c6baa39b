/** The Worker is killed while a job runs, and started again. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freePort } from '../../dev/child.ts'
import { startInbox } from '../../dev/inbox.ts'
import type { LocalServer } from '../../dev/server.ts'
import { type Stack, startStack } from '../../dev/stack.ts'
import { bucketUrl, startStorage } from '../../dev/storage.ts'
import { startWorker } from '../../dev/worker.ts'
import { signUpByMail } from '../../scripts/inbox.ts'
import { withClient } from '../../scripts/migrate.ts'
import { PASSWORD } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

const dataDir = mkdtempSync(join(tmpdir(), 'content-api-restart-'))
chmodSync(dataDir, 0o755)
let port: number
let stack: Stack
let storage: LocalServer
let worker: LocalServer

const query = <T extends object>(sql: string, parameters: unknown[]) =>
  withClient(stack.database.adminUrl, async (client) => (await client.query<T>(sql, parameters)).rows)

beforeAll(async () => {
  port = await freePort()
  const storagePort = await freePort()
  stack = await startStack({
    dataDir,
    databaseUrl: process.env.DATABASE_URL,
    throwAway: true,
    publicUrl: `http://127.0.0.1:${port}`,
    s3Endpoint: bucketUrl(storagePort),
    log: () => undefined,
  })
  storage = await startStorage({ port: storagePort, dataDir, settings: stack.settings })
  worker = await startWorker({ port, dataDir, settings: stack.settings })
}, 60_000)

afterAll(async () => {
  await worker?.stop()
  await storage?.stop()
  await stack?.stop()
  rmSync(dataDir, { recursive: true, force: true })
}, 60_000)

test('the job ends once, with one set of outputs, charged once', async () => {
  const inbox = await startInbox(0, () => worker.url)
  const account = { email: 'restart@example.com', password: PASSWORD }
  const { client } = await signUpByMail(worker.url, inbox.url, account)
  await inbox.stop()
  await client.createWorkspace('Restarted')
  await fetch(`${stack.models.origin}/faults`, {
    method: 'POST',
    body: JSON.stringify({ kind: 'slow', delayMs: 4000 }),
  })
  const job = await client.generate({ task: 'scene', prompt: 'survivor', count: 2 })
  await waitFor('the provider has it', async () => {
    const rows = await query('select from provider_jobs where generation_id = $1 and operation is not null', [
      job.id,
    ])
    return rows.length === 2
  })

  await worker.kill()
  worker = await startWorker({ port, dataDir, settings: stack.settings })

  // Nobody waits for the dead consumer's lease here: its time is over, and the sweeper comes by.
  await query(`update generations set lease_expires_at = now() where id = $1`, [job.id])
  await query(`update outbox set available_at = now() where subject_id = $1`, [job.id])
  await fetch(`${worker.url}/cdn-cgi/local/scheduled`)
  const done = await waitFor('the job finishes', async () => {
    const now = await client.getGeneration(job.id)
    return now.status !== 'queued' && now.status !== 'running' && now
  })
  expect(done).toMatchObject({ status: 'succeeded', creditsCharged: 8, attempts: 2 })
  expect(done.outputs).toHaveLength(2)
  for (const { url } of done.outputs) expect((await fetch(url)).status).toBe(200)
  expect(
    await query('select kind, credits from credit_entries where generation_id = $1 order by kind', [job.id]),
  ).toEqual([
    { kind: 'charge', credits: 8 },
    { kind: 'reserve', credits: 8 },
  ])
  const { submissions } = (await (await fetch(`${stack.models.origin}/stats`)).json()) as {
    submissions: number
  }
  expect(submissions).toBe(2)
  expect(await query('select subject_id from outbox where subject_id = $1', [job.id])).toEqual([])
}, 60_000)
