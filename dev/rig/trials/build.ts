/** One build on a rig of its own, with tenants, their files, and a model server that costs next to nothing. */
import { readdirSync, readFileSync } from 'node:fs'
import { Client } from 'pg'
import { makeSamplePhoto } from '../../../models/photo.ts'
import { withClient } from '../../../scripts/migrate.ts'
import { startRig } from '../rig.ts'
import { startInstantModels } from './instant-models.ts'
import { isUpkeep } from './replay.ts'
import { ask, makeTenants, type Tenant } from './tenants.ts'

const TICKS_PER_SECOND = 100
const WEBHOOK_SECRET = `whsec_${Buffer.from('a secret of the trial').toString('base64')}`

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

export const startBuild = async (name: string, project?: string) => {
  const models = await startInstantModels(WEBHOOK_SECRET)
  const rig = await startRig({
    ...(project && { project }),
    alone: true,
    cron: false,
    traced: false,
    settings: { REPLICATE_BASE_URL: models.origin, REPLICATE_WEBHOOK_SECRET: WEBHOOK_SECRET },
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
    request,
    generate: async (who: Tenant = tenant) =>
      (JSON.parse(await request(who, 'POST', '/generations', job)) as { id: string }).id,
    /** Asks the database, whose time is measured, only when neither the queue nor a model has anything left. */
    untilDone: async () => {
      for (;;) {
        const { ready = 0, inFlight = 0 } = rig.broker.counts().jobs ?? {}
        const atWork = ready + inFlight + models.state.pending
        if (atWork === 0 && !(await watcher.query(open)).rowCount) return
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
export type Build = Awaited<ReturnType<typeof startBuild>>
