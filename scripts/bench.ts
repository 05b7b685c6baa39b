/** `npm run bench`: what one job costs, and what an upload costs in memory, on a throw-away stack. */
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '../dev/child.ts'
import type { LocalServer } from '../dev/server.ts'
import { startStack } from '../dev/stack.ts'
import { bucketUrl, startStorage } from '../dev/storage.ts'
import { startWorker } from '../dev/worker.ts'
import { makeSamplePhoto } from '../models/photo.ts'
import { createClient } from './client.ts'
import { oneLine, withClient } from './migrate.ts'

const JOBS = 30
const UPLOAD_MB = 95
const CROWD = Number(process.env.CROWD ?? 1000)
const MB = 1024 * 1024

// `as`: the index is within an array that has at least one value.
const percentile = (values: number[], share: number) =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] as number

/** Resident bytes of the Worker's runtime; Linux only. */
const residentBytes = (worker: LocalServer): number =>
  readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
        const group = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2])
        if (group !== worker.group || !stat.includes('(workerd)')) return 0
        return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
      } catch {
        return 0
      }
    })
    .reduce((sum, bytes) => sum + bytes, 0)

/** What the model server counts. */
const readStats = async (models: string) => {
  const stats: {
    submissions: number
    predictions: { createdAt: string; completedAt: string; predictTime: number | null }[]
  } = JSON.parse(await (await fetch(`${models}/stats`)).text())
  return stats
}

const measureJobs = async (url: string, token: string, models: string) => {
  const client = createClient(url, token)
  const asset = await client.upload('sample.jpg', await makeSamplePhoto())
  await fetch(`${models}/stats`, { method: 'DELETE' })
  const times: number[] = []
  for (let i = 0; i < JOBS; i++) {
    const started = performance.now()
    const { id } = await client.generate({
      task: 'scene',
      style: 'modern',
      prompt: 'Bench',
      inputAssetIds: [asset.id],
    })
    while ((await client.getGeneration(id)).status !== 'succeeded') await delay(10)
    times.push(performance.now() - started)
  }
  const { predictions } = await readStats(models)
  const inModel = predictions.map(
    ({ createdAt, completedAt }) => Date.parse(completedAt) - Date.parse(createdAt),
  )
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0)
  const started = await client.listGenerations(JOBS)
  const toStart = started.data.map(
    ({ createdAt, startedAt }) => Date.parse(String(startedAt)) - Date.parse(createdAt),
  )
  console.log(`\n${JOBS} jobs one after another, POST to succeeded`)
  console.log(`  p50 ${percentile(times, 0.5).toFixed(0)} ms   p95 ${percentile(times, 0.95).toFixed(0)} ms`)
  console.log(
    `  accepted to started: p50 ${percentile(toStart, 0.5)} ms   p95 ${percentile(toStart, 0.95)} ms`,
  )
  console.log(
    `  in the model server: p50 ${percentile(inModel, 0.5).toFixed(0)} ms, ${((100 * sum(inModel)) / sum(times)).toFixed(0)}% of the time`,
  )
}

const measureUpload = async (worker: LocalServer, token: string) => {
  const client = createClient(worker.url, token)
  await client.upload('warm-up.txt', Buffer.alloc(6 * MB, 'warm up '))
  const bytes = Buffer.concat([Buffer.from('%PDF-1.7\n'), randomBytes(UPLOAD_MB * MB)])
  await delay(500)
  const before = residentBytes(worker)
  let peak = before
  const sampler = setInterval(() => {
    peak = Math.max(peak, residentBytes(worker))
  }, 10)
  const started = performance.now()
  const asset = await client.upload('large.pdf', bytes)
  const elapsed = performance.now() - started
  clearInterval(sampler)
  const right = asset.sha256 === createHash('sha256').update(bytes).digest('hex')
  console.log(`\n${UPLOAD_MB} MB upload through the Worker, storage in another process`)
  console.log(
    `  resident: ${(before / MB).toFixed(0)} MB before, ${(peak / MB).toFixed(0)} MB at most, +${((peak - before) / MB).toFixed(0)} MB`,
  )
  console.log(`  SHA-256 ${right ? 'right' : 'WRONG'}, ${(elapsed / 1000).toFixed(1)} s`)
}

/** Many jobs at once, a small tenant among them, and what a job asks of the database. */
const measureCrowd = async (url: string, admin: string, models: string) => {
  const newTenant = async (name: string, plan: string) => {
    const { access_token } = await createClient(url).register({
      email: `${name}@example.com`,
      password: 'measure twice, cut once',
    })
    const { id } = await createClient(url, access_token).createWorkspace(name)
    await withClient(admin, (db) => db.query('update workspaces set plan = $1 where id = $2', [plan, id]))
    return { id, client: createClient(url, access_token) }
  }
  const [crowd, small] = [await newTenant('crowd', 'enterprise'), await newTenant('small', 'free')]
  await fetch(`${models}/stats`, { method: 'DELETE' })
  const request = { task: 'scene', prompt: 'Crowd', style: 'modern' }
  const run = async () => {
    const started = performance.now()
    const { id } = await small.client.generate(request)
    while ((await small.client.getGeneration(id)).status !== 'succeeded') await delay(50)
    return performance.now() - started
  }
  const alone = await run()
  for (let sent = 0; sent < CROWD; sent += 25)
    await Promise.all(Array.from({ length: 25 }, () => crowd.client.generate(request)))
  const [{ waiting }] = await select<{ waiting: number }>(
    admin,
    `select count(*)::int as waiting from generations where workspace_id = $1 and status = 'queued'`,
    crowd.id,
  )
  const among = await run()
  for (;;) {
    const [{ open }] = await select<{ open: number }>(
      admin,
      `select count(*)::int as open from generations where workspace_id = $1 and completed_at is null`,
      crowd.id,
    )
    if (open === 0) break
    await delay(500)
  }
  const [row] = await select<Record<string, number>>(
    admin,
    `
    select count(*) filter (where status = 'succeeded')::int as succeeded, sum(attempts)::int as attempts,
           extract(epoch from max(completed_at) - min(created_at))::float as seconds,
           (select count(distinct asset_id)::int from generation_outputs where workspace_id = $1) as outputs,
           (select sum(case kind when 'reserve' then credits else -credits end)::int from credit_entries where workspace_id = $1) as reserved,
           (select sum(credits)::int from credit_entries where workspace_id = $1 and kind = 'charge') as charged
      from generations where workspace_id = $1`,
    crowd.id,
  )
  const stats = await readStats(models)
  const inModel = stats.predictions.map(({ predictTime }) => predictTime ?? 0)
  console.log(`\n${CROWD} jobs at once, of one workspace (${waiting} waiting when all were in)`)
  console.log(
    `  ${row.succeeded} succeeded in ${row.seconds?.toFixed(0)} s, ${(CROWD / (row.seconds ?? 1)).toFixed(1)} a second, ${((1000 * inModel.reduce((sum, time) => sum + time, 0)) / inModel.length).toFixed(0)} ms each in the model server, two at a time`,
  )
  console.log(
    `  ${row.attempts} attempts, ${stats.submissions - 2} submissions, ${row.outputs} outputs, ${row.charged} credits charged, ${row.reserved} still reserved`,
  )
  console.log(`  another tenant's single job: ${among.toFixed(0)} ms, alone ${alone.toFixed(0)} ms`)
}

/** One row at least: the statements here count. */
const select = <T extends object>(url: string, sql: string, parameter: string): Promise<[T, ...T[]]> =>
  withClient(url, async (db) => (await db.query(sql, [parameter])).rows as [T, ...T[]])

/** What the limiter adds to a request, and what a denied caller costs. */
const measureLimiter = async (url: string, token: string) => {
  const ask = async () => {
    const started = performance.now()
    const response = await fetch(`${url}/api/v1/models`, { headers: { authorization: `Bearer ${token}` } })
    await response.arrayBuffer()
    const [, db = 0, limiter = 0] =
      /dur=(\d+), limiter;dur=(\d+)/.exec(response.headers.get('server-timing') ?? '') ?? []
    return {
      status: response.status,
      elapsed: performance.now() - started,
      db: Number(db),
      limiter: Number(limiter),
    }
  }
  const answers: Awaited<ReturnType<typeof ask>>[] = []
  while (answers.filter(({ status }) => status === 429).length < 300) answers.push(await ask())
  const mean = (of: (answer: (typeof answers)[number]) => number, list: typeof answers) =>
    list.reduce((sum, answer) => sum + of(answer), 0) / list.length
  const passed = answers.filter(({ status }) => status === 200).slice(100)
  const denied = answers.filter(({ status }) => status === 429)
  const p50 = (list: typeof answers) =>
    percentile(
      list.map(({ elapsed }) => elapsed),
      0.5,
    )
  console.log('\nThe rate limiter, GET /models one after another')
  console.log(
    `  passed: p50 ${p50(passed).toFixed(1)} ms, of which limiter ${mean((a) => a.limiter, passed).toFixed(2)} ms and database ${mean((a) => a.db, passed).toFixed(2)} ms on average`,
  )
  console.log(
    `  denied: p50 ${p50(denied).toFixed(1)} ms, ${(p50(denied) / p50(passed)).toFixed(2)} of a passed one; limiter ${mean((a) => a.limiter, denied).toFixed(2)} ms`,
  )
}

const measureBundle = () => {
  const wrangler = join(import.meta.dirname, '../node_modules/wrangler/bin/wrangler.js')
  const output = execFileSync(process.execPath, [wrangler, 'deploy', '--dry-run'], { encoding: 'utf8' })
  console.log(`\nBundle\n  ${/Total Upload:.*/.exec(output)?.[0]}`)
}

const main = async (): Promise<void> => {
  const dataDir = mkdtempSync(join(tmpdir(), 'content-api-bench-'))
  chmodSync(dataDir, 0o755)
  const stops: (() => Promise<void>)[] = []
  try {
    const [storagePort, port] = [await freePort(), await freePort()]
    const stack = await startStack({
      dataDir,
      databaseUrl: process.env.DATABASE_URL,
      throwAway: true,
      publicUrl: `http://127.0.0.1:${port}`,
      s3Endpoint: bucketUrl(storagePort),
      log: console.log,
    })
    stops.push(stack.stop)
    const storage = await startStorage({ port: storagePort, dataDir, settings: stack.settings })
    stops.push(storage.stop)
    const worker = await startWorker({ port, dataDir, settings: stack.settings })
    stops.push(worker.stop)
    const { access_token } = await createClient(worker.url).register({
      email: 'bench@example.com',
      password: 'measure twice, cut once',
    })
    await createClient(worker.url, access_token).createWorkspace('Bench')
    await withClient(stack.database.adminUrl, (client) =>
      client.query(`update workspaces set plan = 'enterprise'`),
    )
    await measureUpload(worker, access_token)
    await measureJobs(worker.url, access_token, stack.models.origin)
    await measureCrowd(worker.url, stack.database.adminUrl, stack.models.origin)
    await measureLimiter(worker.url, access_token)
    measureBundle()
  } finally {
    for (const stop of stops.reverse()) await stop()
    rmSync(dataDir, { recursive: true, force: true })
  }
}

main().catch((error: unknown) => {
  console.error(oneLine(error))
  process.exit(1)
})
