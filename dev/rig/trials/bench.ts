/**
 * `npm run bench [-- --against <commit>]`: processor time per request and per job, and jobs a second, with the model's time
 * removed; today's build alone, or in turn with an earlier one, so that the machine's noise strikes both. Prints ratios.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Client } from 'pg'
import { makeSamplePhoto } from '../../../models/photo.ts'
import { withClient } from '../../../scripts/migrate.ts'
import { startRig } from '../rig.ts'
import { checkOut } from './check-out.ts'
import { startInstantModels } from './instant-models.ts'
import { isUpkeep } from './replay.ts'
import { ask, asOwner, makeTenants, percentile, type Tenant } from './tenants.ts'

const { values: options } = parseArgs({
  options: {
    against: { type: 'string' },
    rounds: { type: 'string', default: '7' },
    /** Only what has this in its name. */
    only: { type: 'string', default: '' },
  },
})
const ROUNDS = Number(options.rounds)
/** Requests of a round, so many at a time. */
const REQUESTS = 200
const AT_A_TIME = 4
const JOBS = 40
const TICKS_PER_SECOND = 100

/** Processor seconds of the database server, of the backends that have ended too. */
const databaseSeconds = (postmaster: number): number => {
  const statOf = (pid: string | number) => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const ticks = (from: number, to: number) => fields.slice(from, to).reduce((sum, n) => sum + Number(n), 0)
    return { parent: Number(fields[1]), own: ticks(11, 13), ended: ticks(13, 15) }
  }
  const server = statOf(postmaster)
  const backends = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map((pid) => {
      try {
        return statOf(pid)
      } catch {
        return { parent: 0, own: 0 }
      }
    })
    .filter(({ parent }) => parent === postmaster)
  return (server.own + server.ended + backends.reduce((sum, { own }) => sum + own, 0)) / TICKS_PER_SECOND
}

const startBuild = async (name: string, project?: string) => {
  const models = await startInstantModels()
  const rig = await startRig({
    ...(project && { project }),
    alone: true,
    cron: false,
    traced: false,
    settings: { REPLICATE_BASE_URL: models.origin },
  })
  const postmaster = await withClient(rig.stack.database.adminUrl, async (db) => {
    const { rows } = await db.query<{ pid: number }>('select pg_backend_pid() as pid')
    const stat = readFileSync(`/proc/${rows[0]?.pid}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  })
  const tenants = await makeTenants(rig, 16)
  const [tenant] = tenants
  if (!tenant) throw new Error('no tenant')
  const request = async (who: Tenant, method: string, path: string, body?: unknown) => {
    const answer = await ask(rig.url, who, method, path, body === undefined ? {} : { body })
    if (answer.status === 0 || answer.status >= 400) {
      throw new Error(`${name}: ${method} ${path} answered ${answer.status} ${answer.body.slice(0, 300)}`)
    }
    return answer.body
  }
  const form = new FormData()
  form.set('file', new Blob([Uint8Array.from(await makeSamplePhoto())], { type: 'image/jpeg' }), 'mug.jpg')
  const files = await Promise.all(
    tenants.map(
      async (one) => (JSON.parse(await request(one, 'POST', '/assets/upload', form)) as { id: string }).id,
    ),
  )
  const first = await ask(rig.url, tenant, 'POST', '/generations', { body: { task: 'scene', prompt: 'x' } })
  // Before there were tasks.
  const job = first.status === 202 ? { task: 'scene', prompt: 'x' } : { kind: 'image', prompt: 'x' }
  const [api] = rig.api
  let turns = 0
  const open = 'select from generations where completed_at is null limit 1'
  const watcher = new Client({ connectionString: rig.stack.database.adminUrl })
  await watcher.connect()
  let databaseRequests = 0
  rig.links.database.watch((request) => {
    if (!isUpkeep(request)) databaseRequests++
  })
  return {
    name,
    rig,
    models,
    tenants,
    /** One tenant after another, so that nobody meets a limit. */
    read: (path: (assetId: string) => string) => {
      const turn = turns++ % tenants.length
      return request(tenants[turn] ?? tenant, 'GET', path(files[turn] ?? ''))
    },
    generate: async (who: Tenant = tenant) =>
      (JSON.parse(await request(who, 'POST', '/generations', job)) as { id: string }).id,
    /** Asks the database, whose time is measured, only when the queue has nothing left. */
    untilDone: async () => {
      for (;;) {
        const { ready = 0, delayed = 0, inFlight = 0 } = rig.broker.counts().jobs ?? {}
        if (ready + delayed + inFlight === 0 && !(await watcher.query(open)).rowCount) return
        await new Promise((resolve) => setTimeout(resolve, 2))
      }
    },
    databaseRequests: () => databaseRequests,
    seconds: () => ({ worker: api?.usage().cpuSeconds ?? 0, database: databaseSeconds(postmaster) }),
    stop: async () => {
      await watcher.end()
      await rig.stop()
      models.stop()
    },
  }
}
type Build = Awaited<ReturnType<typeof startBuild>>

/** Runs `count` of them, so many at a time. */
const repeat = async (count: number, atATime: number, run: () => Promise<unknown>) => {
  let left = count
  await Promise.all(
    Array.from({ length: atATime }, async () => {
      while (left-- > 0) await run()
    }),
  )
}

interface Figures {
  /** Processor milliseconds each. */
  worker: number
  database: number
  /** Requests to the database each. */
  requests: number
  /** Milliseconds each, one after another. */
  time: number
}

const measureCost = async (build: Build, count: number, run: () => Promise<unknown>): Promise<Figures> => {
  const before = build.seconds()
  const asked = build.databaseRequests()
  const started = performance.now()
  await run()
  const time = (performance.now() - started) / count
  const after = build.seconds()
  return {
    worker: ((after.worker - before.worker) * 1000) / count,
    database: ((after.database - before.database) * 1000) / count,
    requests: (build.databaseRequests() - asked) / count,
    time,
  }
}

const reading = (path: (assetId: string) => string) => (build: Build) =>
  measureCost(build, REQUESTS, () => repeat(REQUESTS, AT_A_TIME, () => build.read(path)))

const measures: Record<string, (build: Build) => Promise<Figures>> = {
  'GET /auth/me': reading(() => '/auth/me'),
  'GET /workspaces': reading(() => '/workspaces'),
  'GET /assets?limit=20': reading(() => '/assets?limit=20'),
  'GET /assets/{id}/download': reading((id) => `/assets/${id}/download`),
  'POST /generations': async (build) => {
    // Nobody takes the messages, so only the request counts.
    build.rig.broker.pause()
    const figures = await measureCost(build, JOBS, () => repeat(JOBS, AT_A_TIME, () => build.generate()))
    build.rig.broker.resume()
    await build.untilDone()
    return figures
  },
  'a job, one after another': (build) =>
    measureCost(build, JOBS, () =>
      repeat(JOBS, 1, async () => {
        await build.generate()
        await build.untilDone()
      }),
    ),
  'a job, of 16 workspaces at once': (build) =>
    measureCost(build, 16 * 20, async () => {
      await Promise.all(build.tenants.map((tenant) => repeat(20, 2, () => build.generate(tenant))))
      await build.untilDone()
    }),
  'a job, of one workspace at once': (build) =>
    measureCost(build, 200, async () => {
      await repeat(200, 8, () => build.generate())
      await build.untilDone()
    }),
}

const builds: Build[] = []
try {
  if (options.against) builds.push(await startBuild(options.against, checkOut(options.against)))
  builds.push(await startBuild('today'))
  const [base, today = base] = builds
  const text = (value: number) => value.toFixed(2).padStart(8)
  console.log(
    `\n${''.padEnd(36)}  CPU ms of Worker, Postgres, both; ms and database requests each${options.against ? '; ratios to the earlier build' : ''}`,
  )
  for (const [name, measure] of Object.entries(measures)) {
    if (!name.includes(options.only)) continue
    const rounds = new Map<Build, Figures[]>(builds.map((build) => [build, []]))
    // The first is for warming up.
    for (let round = 0; round <= ROUNDS; round++) {
      for (const build of round % 2 ? builds : builds.toReversed()) {
        const figures = await measure(build)
        if (round > 0) rounds.get(build)?.push(figures)
      }
    }
    const middle = (build: Build | undefined, of: (figures: Figures) => number) =>
      percentile((build ? rounds.get(build) : [])?.map(of) ?? [], 0.5)
    const both = ({ worker, database }: Figures) => worker + database
    for (const build of builds) {
      const parts = [
        ({ worker }: Figures) => worker,
        ({ database }: Figures) => database,
        both,
        ({ time }: Figures) => time,
        ({ requests }: Figures) => requests,
      ]
      const ratio = (of: (figures: Figures) => number) => (middle(today, of) / middle(base, of)).toFixed(2)
      const spread =
        rounds
          .get(build)
          ?.map(both)
          .toSorted((a, b) => a - b) ?? []
      console.log(
        `${name.padEnd(34)} ${build.name.padEnd(8)}${parts.map((of) => text(middle(build, of))).join('')}   (${spread.at(0)?.toFixed(2)} to ${spread.at(-1)?.toFixed(2)})${
          build === today && builds.length > 1
            ? `   CPU ${ratio(both)}, time ${ratio(({ time }) => time)}`
            : ''
        }`,
      )
    }
  }
  for (const build of builds) {
    const counts = build.rig.broker.counts()
    const [row] = await asOwner<{ n: number }>(build.rig, 'select count(*)::int n from generations')
    console.log(`${build.name}: ${((counts.jobs?.enqueued ?? 0) / (row?.n ?? 1)).toFixed(2)} messages a job`)
  }
} finally {
  for (const build of builds) await build.stop()
}
