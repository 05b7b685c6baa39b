/**
 * `npm run bench [-- --against <commit>] [--only <part of a name>]`: processor time and milliseconds of a request and of a job,
 * what a file's way through the Worker costs, and what people who sign in cost others; of today's build alone, or in turn
 * with an earlier one, so that the machine's noise strikes both. Read the ratios, and how far the reference differs from itself.
 */
import { parseArgs } from 'node:util'
import { type Build, startBuild } from './build.ts'
import { checkOut } from './check-out.ts'
import { timeReadsBesideSignIns } from './sign-in.ts'
import { asOwner, percentile } from './tenants.ts'
import { timeUploads } from './upload-times.ts'

const { values: options } = parseArgs({
  options: {
    against: { type: 'string' },
    rounds: { type: 'string', default: '7' },
    only: { type: 'string', default: '' },
  },
})
const ROUNDS = Number(options.rounds)
/** Requests of a round, so many at a time. */
const REQUESTS = 800
const POSTS = 160
const AT_A_TIME = 4
const JOBS = 40
/** Milliseconds that the slower of two models takes. */
const MODEL_TIME = 150
/** Megabytes. */
const FILES = [5, 50]
const FILE_ROUNDS = Math.min(ROUNDS, 5)

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
  /** Milliseconds each, one after another. */
  time: number
  /** Requests to the database each. */
  requests: number
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
    time,
    requests: (build.databaseRequests() - asked) / count,
  }
}

type Measure = (build: Build) => Promise<Figures>

const reading =
  (path: (assetId: string) => string): Measure =>
  (build) =>
    measureCost(build, REQUESTS, () => repeat(REQUESTS, AT_A_TIME, () => build.read(path)))

const jobs: Record<string, Measure> = {
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

const withModelOf = (delay: number, measure: Measure): Measure => {
  return async (build) => {
    build.models.state.delay = delay
    try {
      return await measure(build)
    } finally {
      build.models.state.delay = 0
    }
  }
}

const measures: Record<string, Measure> = {
  'GET /auth/me': reading(() => '/auth/me'),
  'GET /workspaces': reading(() => '/workspaces'),
  'GET /assets?limit=20': reading(() => '/assets?limit=20'),
  'GET /assets/{id}/download': reading((id) => `/assets/${id}/download`),
  'POST /generations': async (build) => {
    // Nobody takes the messages, so only the request counts.
    build.rig.broker.pause()
    let turn = 0
    const figures = await measureCost(build, POSTS, () =>
      repeat(POSTS, AT_A_TIME, () => build.generate(build.tenants[turn++ % build.tenants.length])),
    )
    build.rig.broker.resume()
    await build.untilDone()
    return figures
  },
  ...jobs,
  ...Object.fromEntries(
    Object.entries(jobs).map(([name, measure]) => [
      `${name}, ${MODEL_TIME} ms`,
      withModelOf(MODEL_TIME, measure),
    ]),
  ),
}

const builds: Build[] = []

/** Each build's values of so many rounds, in turn; one more comes first, for warming up, and statistics of what it made, as autovacuum would. */
const inTurn = async <T>(rounds: number, measure: (build: Build) => Promise<T>): Promise<T[][]> => {
  const values: T[][] = builds.map(() => [])
  for (let round = 0; round <= rounds; round++) {
    const order = builds.map((build, i) => ({ build, own: values[i] }))
    for (const { build, own } of round % 2 ? order : order.toReversed()) {
      const value = await measure(build)
      if (round > 0) own?.push(value)
    }
    if (round === 0) for (const { rig } of builds) await asOwner(rig, 'analyze')
  }
  return values
}

const middle = (values: readonly number[]) => percentile([...values], 0.5)

/** Half the distance between the quartiles, as a part of the middle: how far a build differs from itself. */
const noiseOf = (values: readonly number[]) => {
  const [low, high] = [percentile([...values], 0.25), percentile([...values], 0.75)]
  return `±${((50 * (high - low)) / middle(values)).toFixed(0)} %`
}

const both = ({ worker, database }: Figures) => worker + database
const columns: [string, (figures: Figures) => number][] = [
  ['Worker', ({ worker }) => worker],
  ['Postgres', ({ database }) => database],
  ['both', both],
  ['ms', ({ time }) => time],
  ['requests', ({ requests }) => requests],
]

const isWanted = (name: string) => name.includes(options.only)
const LABEL = 40

const compareCosts = async () => {
  const wanted = Object.entries(measures).filter(([name]) => isWanted(name))
  if (wanted.length === 0) return
  console.log(
    `\n${''.padEnd(LABEL + 10)}${columns.map(([title]) => title.padStart(10)).join('')}   processor milliseconds, time, database requests; ratios, and the reference's noise`,
  )
  for (const [name, measure] of wanted) {
    const values = await inTurn(ROUNDS, measure)
    const [base = [], today = base] = values
    const compare = (of: (figures: Figures) => number) =>
      `${(middle(today.map(of)) / middle(base.map(of))).toFixed(2)} ${noiseOf(base.map(of))}`
    for (const [i, build] of builds.entries()) {
      const own = values[i] ?? []
      const cells = columns.map(([, of]) => middle(own.map(of)).toFixed(2).padStart(10))
      const isLast = i === builds.length - 1
      const ratios = isLast ? `   CPU ${compare(both)}, time ${compare(({ time }) => time)}` : ''
      console.log(`${name.padEnd(LABEL)}${build.name.padEnd(10)}${cells.join('')}${ratios}`)
    }
  }
  await countMessages()
}

const compareUploads = async () => {
  for (const megabytes of FILES) {
    const name = `an upload of ${megabytes} MB`
    if (!isWanted(name)) continue
    for (const [i, values] of (
      await inTurn(FILE_ROUNDS, (build) => timeUploads(build, megabytes))
    ).entries()) {
      const worker = values.map((value) => value.worker)
      const direct = values.map((value) => value.direct)
      console.log(
        `${name.padEnd(LABEL)}${builds[i]?.name.padEnd(10)}${middle(worker).toFixed(0).padStart(10)} ms, direct ${middle(direct).toFixed(0)} ms ${noiseOf(direct)}: ${(middle(worker) / middle(direct)).toFixed(2)}`,
      )
    }
  }
}

const compareSignIns = async () => {
  const name = 'GET /auth/me beside ten sign-ins, p95'
  if (!isWanted(name)) return
  for (const build of builds) {
    const { quiet, beside, signIn, reads } = await timeReadsBesideSignIns(build)
    console.log(
      `${name.padEnd(LABEL)}${build.name.padEnd(10)}${beside.toFixed(1).padStart(10)} ms, quiet ${quiet.toFixed(1)} ms: ${(beside / quiet).toFixed(2)} (${reads} reads; a sign-in ${signIn.toFixed(0)} ms)`,
    )
  }
}

const countMessages = async () => {
  for (const { name, rig } of builds) {
    const counts = rig.broker.counts()
    const [row] = await asOwner<{ n: number }>(rig, 'select count(*)::int n from generations')
    console.log(`${name}: ${((counts.jobs?.enqueued ?? 0) / (row?.n ?? 1)).toFixed(2)} messages a job`)
  }
}

try {
  if (options.against) builds.push(await startBuild(options.against, checkOut(options.against)))
  builds.push(await startBuild('today'))
  await compareCosts()
  await compareUploads()
  await compareSignIns()
} finally {
  for (const build of builds) await build.stop()
}
