/**
 * `npm run rig:start [-- --against <commit>]`: milliseconds from the start of a process to its first answer, of today's build
 * and of an earlier one in turn, and beside them a Worker that does nothing: what is above that is the bundle's.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { unstable_readConfig } from 'wrangler'
import { PROJECT } from '../../stack.ts'
import { makeConfig } from '../config.ts'
import { createWorkerd } from '../process.ts'
import { startRig } from '../rig.ts'
import { checkOut } from './check-out.ts'
import { makeTenants, percentile } from './tenants.ts'

const { values: options } = parseArgs({
  options: { against: { type: 'string' }, rounds: { type: 'string', default: '25' } },
})
const FIRST = ['/health', '/api/v1/auth/me', '/api/v1/assets?limit=20']

interface Process {
  kill(): Promise<void>
  start(): Promise<void>
  url(): string
}
interface Build {
  name: string
  process: Process
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
    ...{ project: PROJECT, config, bundle, settings: {}, brokerPort: 9, imagesPort: 9, traced: true },
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

/** Milliseconds until a new process has answered. */
const measure = async ({ process, headers, name }: Build, path: string): Promise<number> => {
  await process.kill()
  const started = performance.now()
  await process.start()
  const answer = await fetch(process.url() + path, { headers })
  await answer.text()
  const time = performance.now() - started
  if (!answer.ok) throw new Error(`${name}: ${path} answered ${answer.status}`)
  return time
}

const builds: Build[] = []
try {
  builds.push(startEmpty())
  if (options.against) builds.push(await startBuild(options.against, checkOut(options.against)))
  builds.push(await startBuild('today'))
  const [empty, base] = builds
  console.log(`\n${'first request'.padEnd(28)}${builds.map(({ name }) => name.padStart(10)).join('')}`)
  for (const path of FIRST) {
    const times = new Map<Build, number[]>(builds.map((build) => [build, []]))
    // The first is for warming up.
    for (let round = 0; round <= Number(options.rounds); round++) {
      for (const build of round % 2 ? builds : builds.toReversed()) {
        const time = await measure(build, path)
        if (round > 0) times.get(build)?.push(time)
      }
    }
    const middle = (build = builds.at(-1)) => percentile((build && times.get(build)) ?? [], 0.5)
    const own = (build?: Build) => middle(build) - middle(empty)
    const ratios = `   ratio ${(middle() / middle(base)).toFixed(2)}, of the bundle's own ${(own() / own(base)).toFixed(2)}`
    console.log(
      `${path.padEnd(28)}${builds.map((build) => `${middle(build).toFixed(0)} ms`.padStart(10)).join('')}${options.against ? ratios : ''}`,
    )
  }
} finally {
  for (const build of builds) await build.stop()
}
