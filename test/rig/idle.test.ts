/** A deployment that nobody uses leaves its database alone, and nothing that is owed is left behind. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type Rig, startRig } from '../../dev/rig/rig.ts'
import { createClient } from '../../scripts/client.ts'
import { signUpByMail } from '../../scripts/inbox.ts'
import { withClient } from '../../scripts/migrate.ts'
import { waitFor } from '../support/wait-for.ts'

let rig: Rig
let token: string

beforeAll(async () => {
  rig = await startRig({ cron: false })
  const account = { email: 'idle@example.com', password: 'correct horse battery staple' }
  const owner = await signUpByMail(rig.url, rig.mail.url, account)
  token = owner.token
  await owner.client.createWorkspace('Idle')
}, 90_000)

afterEach(async () => {
  rig.links.database.clearFaults()
  await rig.links.objects.start()
  rig.broker.conditions.refuse = 0
  for (const { name } of rig.api) await rig.start(name)
})

afterAll(() => rig?.stop(), 60_000)

const query = <T extends object>(sql: string, parameters: unknown[] = []) =>
  withClient(rig.stack.database.adminUrl, async (db) => (await db.query<T>(sql, parameters)).rows)

// Both look past the API, whose use is to be nobody's.
const succeeds = (id: string) =>
  waitFor(
    `${id} succeeds`,
    async () =>
      (await query(`select from generations where id = $1 and status = 'succeeded'`, [id])).length > 0,
    60_000,
  )
const isOwed = async (id: string) =>
  (await query('select from outbox where subject_id = $1', [id])).length > 0

const ask = (method: string, path: string) =>
  fetch(rig.url + path, { method, headers: { authorization: `Bearer ${token}` } })

/** An asset whose object is owed to be deleted, since the queue takes no message. */
const leaveDebt = async () => {
  const { id } = await createClient(rig.url, token).upload('a.txt', new TextEncoder().encode('text'))
  rig.broker.conditions.refuse = 1
  expect((await ask('DELETE', `/api/v1/assets/${id}`)).status).toBe(204)
  rig.broker.conditions.refuse = 0
  return id
}

/** The database requests from now on; the fault does nothing but count. */
const countRequests = () => rig.links.database.fault({ kind: 'slow', of: 'request', bytesPerSecond: 1e9 })

/** Waits until a sweep that would have come has not. */
const fallsAsleep = () =>
  waitFor(
    'nobody asks the database',
    async () => {
      const requests = countRequests()
      await sleep(20_000)
      rig.links.database.clearFaults()
      return requests.hits === 0
    },
    120_000,
  )

const restart = async () => {
  for (const { name } of rig.api) await rig.kill(name)
  rig.broker.conditions.refuse = 0
  await rig.links.objects.start()
  for (const { name } of rig.api) await rig.start(name)
}

test('after a job the database sleeps, until something is due', async () => {
  const { id } = await createClient(rig.url, token).generate({ task: 'scene', prompt: 'Idle' })
  await succeeds(id)
  const debt = await leaveDebt()
  const due = Date.now() + 160_000
  await query(`update outbox set available_at = now() + interval '160 seconds' where subject_id = $1`, [debt])
  expect((await ask('GET', '/health/ready')).status).toBe(200)
  await fallsAsleep()
  const requests = countRequests()
  const readiness: Response[] = []
  while (Date.now() < due - 5000) {
    await sleep(5000)
    // At first it asks for itself.
    if (Date.now() > due - 30_000) readiness.push(await ask('GET', '/health/ready'))
  }
  expect(requests.hits).toBe(0)
  expect(readiness.length).toBeGreaterThan(3)
  for (const answer of readiness) {
    expect(answer.status).toBe(200)
    const { databaseAskedAt } = (await answer.json()) as { databaseAskedAt: string }
    expect(Date.parse(databaseAskedAt)).toBeLessThan(Date.now() - 60_000)
  }
  expect(await isOwed(debt)).toBe(true)
  await waitFor('the debt is settled', async () => !(await isOwed(debt)), 15_000)
  expect(Date.now()).toBeGreaterThan(due - 1000)
}, 300_000)

test('a job whose message the queue refused ends, though the process was killed right after the commit', async () => {
  rig.broker.conditions.refuse = 1
  const { id } = await createClient(rig.url, token).generate({ task: 'scene', prompt: 'Idle' })
  await restart()
  await succeeds(id)
}, 90_000)

test('cron finds what the sweeper could not be told of', async () => {
  const { id } = await createClient(rig.url, token).upload('b.txt', new TextEncoder().encode('text'))
  await fallsAsleep()
  await rig.links.objects.stop()
  rig.broker.conditions.refuse = 1
  expect((await ask('DELETE', `/api/v1/assets/${id}`)).status).toBe(204)
  await restart()
  await query('update outbox set available_at = now() where subject_id = $1', [id])
  const requests = countRequests()
  await sleep(20_000)
  expect(requests.hits).toBe(0)
  expect(await isOwed(id)).toBe(true)
  expect(await rig.scheduled()).toMatchObject({ outcome: 'ok' })
  await waitFor('the debt is settled', async () => !(await isOwed(id)), 15_000)
}, 240_000)
