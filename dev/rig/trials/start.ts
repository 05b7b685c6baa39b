/**
 * `npm run rig:start [-- --against <commit>]`: time from the start of a process to its first answer, of today's build and of an
 * earlier one in turn, and beside them a Worker that does nothing: what is above that is the bundle's.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { unstable_readConfig } from 'wrangler'
import { PROJECT } from '../../stack.ts'
import { makeConfig } from '../config.ts'
import { createWorkerd, type Workerd } from '../process.ts'
import { startRig } from '../rig.ts'
import { checkOut } from './check-out.ts'
import { makeTenants, percentile } from './tenants.ts'

const { values: options } = parseArgs({
  options: { against: { type: 'string' }, rounds: { type: 'string', default: '25' } },
})
const FIRST = ['/health', '/api/v1/auth/me', '/api/v1/assets?limit=20']

interface Build {
  name: string
  process: Workerd
  headers: Record<string, string>
  stop(): Promise<void>
}

const startBuild = async (name: string, project?: string): Promise<Build> => {
  const rig = await startRig({ ...(project && { project }), alone: true, cron: false })
  const [tenant] = await makeTenants(rig, 1)
  const [worker] = rig.api
  if (!tenant || !worker) throw new Error('no tenant or no process')
  const headers = { authorization: `Bearer ${tenant.token}`, 'x-workspace-id': tenant.workspaceId }
  return { name, process: worker, headers, stop: rig.stop }
}

/** The runtime with everything but the bundle. */
const startEmpty = (): Build => {
  const folder = mkdtempSync(join(tmpdir(), 'content-api-empty-'))
  const config = unstable_readConfig({ config: join(PROJECT, 'wrangler.toml') }, { hideWarnings: true })
  const bundle = join(folder, 'bundle')
  const objects = join(folder, 'objects')
  for (const path of [bundle, objects]) mkdirSync(path)
  const classes = config.durable_objects.bindings.map(
    ({ class_name: name }: { class_name: string }) => `export class ${name} extends DurableObject {}`,
  )
  writeFileSync(
    join(bundle, 'worker.js'),
    `import { DurableObject } from 'cloudflare:workers'
     ${classes.join('\n')}
     export default { fetch: () => new Response(), queue() {}, scheduled() {} }`,
  )
  const text = makeConfig({
    ...{
      project: PROJECT,
      config,
      bundle,
      settings: {},
      brokerPort: 9,
      imagesPort: 9,
      mailPort: 9,
      traced: true,
    },
    objects: { folder: objects, elsewhere: {} },
  })
  const process = createWorkerd({ name: 'empty', directory: folder, config: text })
  return {
    name: 'empty',
    process,
    headers: {},
    stop: async () => {
      await process.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Milliseconds until a new process has answered, and of the processor until then. */
const measure = async ({ process, headers, name }: Build, path: string) => {
  await process.kill()
  const started = performance.now()
  await process.start()
  const answer = await fetch(process.url() + path, { headers })
  await answer.text()
  const figures = { time: performance.now() - started, processor: process.usage().cpuSeconds * 1000 }
  if (!answer.ok) throw new Error(`${name}: ${path} answered ${answer.status}`)
  return figures
}
type Figures = Awaited<ReturnType<typeof measure>>

const middle = (values: number[]) => percentile(values, 0.5)
/** The processor's time is counted in ten milliseconds. */
const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length

const builds: Build[] = []
try {
  builds.push(startEmpty())
  if (options.against) builds.push(await startBuild(options.against, checkOut(options.against)))
  builds.push(await startBuild('today'))
  console.log(`\n${'first request'.padEnd(40)}${builds.map(({ name }) => name.padStart(10)).join('')}`)
  for (const path of FIRST) {
    const figures: Figures[][] = builds.map(() => [])
    // The first is for warming up.
    for (let round = 0; round <= Number(options.rounds); round++) {
      const order = builds.map((build, i) => ({ build, own: figures[i] }))
      for (const { build, own } of round % 2 ? order : order.toReversed()) {
        const measured = await measure(build, path)
        if (round > 0) own?.push(measured)
      }
    }
    const rows = {
      time: figures.map((own) => middle(own.map(({ time }) => time))),
      processor: figures.map((own) => mean(own.map(({ processor }) => processor))),
    }
    for (const [row, values] of Object.entries(rows)) {
      const [empty = 0, base = 0, today = base] = values
      const ratios = `   ratio ${(today / base).toFixed(2)}, of the bundle's own ${((today - empty) / (base - empty)).toFixed(2)}`
      console.log(
        `${`${path}, ${row}`.padEnd(40)}${values.map((value) => `${value.toFixed(0)} ms`.padStart(10)).join('')}${options.against ? ratios : ''}`,
      )
    }
  }
} finally {
  for (const build of builds) await build.stop()
}
