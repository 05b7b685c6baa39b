/**
 * `npm run rig:soak`: mixed traffic, with people who hang up, at about half of what the rig can do. Prints a line a minute
 * and fails on any 5xx but the honest 503, on a caller that is not let in, on a deadlock, and on what grows. MINUTES (60)
 * and RATE (requests a second) change it.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { startRig } from '../rig.ts'
import { ask, asOwner, makeTenants, PASSWORD, type Tenant, untruths } from './tenants.ts'

const MINUTES = Number(process.env.MINUTES ?? 60)
const RATE = Number(process.env.RATE ?? 12)
const WORKSPACES = 6

const rig = await startRig()
const answers = new Map<string, Map<number, number>>()
const strange: string[] = []
const note = (what: string, { status, body }: { status: number; body: string }) => {
  const statuses = answers.get(what) ?? new Map<number, number>()
  answers.set(what, statuses.set(status, (statuses.get(status) ?? 0) + 1))
  // Whoever signs in here knows the password, and tokens are renewed.
  if ((status >= 500 && status !== 503) || status === 401) strange.push(`${what}: ${status} ${body}`)
}
const pick = <T>(of: readonly T[]): T => of[Math.floor(Math.random() * of.length)] as T
const ids = async (tenant: Tenant, path: string) => {
  const { status, body } = await ask(rig.url, tenant, 'GET', path)
  return status === 200 ? (JSON.parse(body) as { data: { id: string }[] }).data.map(({ id }) => id) : []
}

/** People who do nothing else: the newest hundred sessions push out older ones. */
const signIn = (signal?: AbortSignal) =>
  ask(rig.url, { token: '', workspaceId: '' }, 'POST', '/auth/login', {
    body: {
      email: `trial-${WORKSPACES + Math.floor(Math.random() * WORKSPACES)}@example.com`,
      password: PASSWORD,
    },
    headers: { 'cf-connecting-ip': `198.51.100.${Math.floor(Math.random() * 250)}` },
    ...(signal && { signal }),
  })
const form = (bytes: number) => {
  const body = new FormData()
  body.append('file', new Blob([randomBytes(bytes).toString('base64')]), 'soak.txt')
  return body
}

/** What people do, each as often as its weight says. */
const deeds: [string, number, (tenant: Tenant) => Promise<{ status: number; body: string }>][] = [
  [
    'read',
    20,
    (tenant) =>
      ask(rig.url, tenant, 'GET', pick(['/assets', '/generations', '/usage', '/auth/me', '/audit-logs'])),
  ],
  ['sign in', 1, () => signIn()],
  ['sign in, hang up', 2, () => signIn(AbortSignal.timeout(Math.round(20 + Math.random() * 200)))],
  ['upload', 2, (tenant) => ask(rig.url, tenant, 'POST', '/assets/upload', { body: form(20_000) })],
  [
    'upload, cut midway',
    1,
    (tenant) =>
      ask(rig.url, tenant, 'POST', '/assets/upload', {
        body: form(3_000_000),
        signal: AbortSignal.timeout(Math.round(5 + Math.random() * 60)),
      }),
  ],
  [
    'job',
    3,
    (tenant) => ask(rig.url, tenant, 'POST', '/generations', { body: { task: 'scene', prompt: 'Soak' } }),
  ],
  [
    'cancel',
    2,
    async (tenant) => {
      const [id] = await ids(tenant, '/generations?limit=1')
      return id
        ? ask(rig.url, tenant, 'POST', `/generations/${id}/cancel`, { body: {} })
        : { status: 200, body: '' }
    },
  ],
  [
    'endpoint made',
    1,
    (tenant) =>
      ask(rig.url, tenant, 'POST', '/webhooks', { body: { url: `${rig.stack.models.origin}/nowhere` } }),
  ],
  [
    'endpoint changed',
    1,
    async (tenant) => {
      const id = pick(await ids(tenant, '/webhooks'))
      return id
        ? ask(rig.url, tenant, 'PATCH', `/webhooks/${id}`, { body: { enabled: Math.random() < 0.7 } })
        : { status: 200, body: '' }
    },
  ],
  [
    'endpoint deleted',
    1,
    async (tenant) => {
      const id = pick(await ids(tenant, '/webhooks'))
      return id ? ask(rig.url, tenant, 'DELETE', `/webhooks/${id}`) : { status: 200, body: '' }
    },
  ],
  [
    'asset deleted',
    2,
    async (tenant) => {
      const id = pick(await ids(tenant, '/assets'))
      return id ? ask(rig.url, tenant, 'DELETE', `/assets/${id}`) : { status: 200, body: '' }
    },
  ],
  [
    'slug',
    1,
    (tenant) =>
      ask(rig.url, tenant, 'PATCH', `/workspaces/${tenant.workspaceId}`, {
        body: { slug: `soak-${randomBytes(6).toString('hex')}` },
      }),
  ],
  [
    'stream, left',
    2,
    (tenant) =>
      ask(rig.url, tenant, 'GET', '/events', {
        signal: AbortSignal.timeout(Math.round(Math.random() * 20_000)),
      }),
  ],
]
const lottery = deeds.flatMap((deed) => Array.from({ length: deed[1] }, () => deed))

try {
  const tenants = (await makeTenants(rig, 2 * WORKSPACES)).slice(0, WORKSPACES)
  const end = Date.now() + MINUTES * 60_000
  let open = 0
  const traffic = (async () => {
    while (Date.now() < end) {
      const [what, , run] = pick(lottery)
      open++
      void run(pick(tenants))
        .then((answer) => note(what, answer))
        .finally(() => open--)
      await sleep(1000 / RATE)
    }
  })()
  console.log(
    ' min  requests  open  503  strange  exceptions  RSS MB (api-1, api-2, objects)  CPU %  connections  outbox  deadlocks',
  )
  let cpuBefore = 0
  const state = async () => {
    const usage = rig.usage()
    const rss = ['api-1', 'api-2', 'objects'].map((name) => Math.round((usage[name]?.rssBytes ?? 0) / 1e6))
    const cpu = Object.values(usage).reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0)
    const [row] = await asOwner<{ connections: number; outbox: number; deadlocks: number }>(
      rig,
      `select (select count(*)::int from pg_stat_activity where datname = current_database()) as connections,
              (select count(*)::int from outbox where available_at < now() - interval '5 minutes') as outbox,
              (select deadlocks::int from pg_stat_database where datname = current_database()) as deadlocks`,
    )
    const share = Math.round(((cpu - cpuBefore) / 60) * 100)
    cpuBefore = cpu
    return { rss, share, exceptions: rig.exceptions().length, ...row }
  }
  for (let minute = 1; minute <= MINUTES; minute++) {
    await sleep(60_000)
    const all = [...answers.values()]
    const requests = all.flatMap((statuses) => [...statuses.values()]).reduce((sum, n) => sum + n, 0)
    const refused = all.reduce((sum, statuses) => sum + (statuses.get(503) ?? 0), 0)
    const { rss, share, exceptions, connections, outbox, deadlocks } = await state()
    console.log(
      [
        String(minute).padStart(4),
        String(requests).padStart(9),
        String(open).padStart(5),
        String(refused).padStart(4),
        String(strange.length).padStart(8),
        String(exceptions).padStart(11),
        rss.join(', ').padStart(31),
        String(share).padStart(6),
        String(connections).padStart(12),
        String(outbox).padStart(7),
        String(deadlocks).padStart(10),
      ].join(' '),
    )
  }
  await traffic
  const isQuiet = async () =>
    (await asOwner(rig, 'select from generations where completed_at is null')).length === 0
  for (let tries = 0; tries < 120 && !(await isQuiet()); tries++) await sleep(1000)
  console.table(
    Object.fromEntries([...answers].map(([what, statuses]) => [what, Object.fromEntries(statuses)])),
  )
  // Notes of the last minutes are still owed, and people delete what was generated.
  const { 'notes owed': _, 'successes without outputs': __, ...wrong } = await untruths(rig)
  console.table(wrong)
  for (const line of [...new Set(strange)].slice(0, 10)) console.log(line)
  for (const { name, message, at } of rig.exceptions().slice(0, 10))
    console.log(`${name}: ${message} (${at})`)
  if (strange.length > 0 || rig.exceptions().length > 0 || Object.values(wrong).some((n) => n !== 0))
    process.exitCode = 1
} finally {
  await rig.stop()
}
process.exit()
