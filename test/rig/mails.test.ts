/** A day of mails on a rig that doubles and reorders messages, refuses, loses answers and dies: nobody gets one twice. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Rig, startRig } from '../../dev/rig/rig.ts'
import { send } from '../../scripts/client.ts'
import { withClient } from '../../scripts/migrate.ts'
import { waitFor } from '../support/wait-for.ts'

let rig: Rig
beforeAll(async () => {
  rig = await startRig({ cron: false, consumers: { mails: { retry_delay: 1 } } })
}, 90_000)
afterAll(() => rig?.stop(), 60_000)

const query = <T extends object>(sql: string, parameters: unknown[] = []): Promise<T[]> =>
  withClient(rig.stack.database.adminUrl, async (db) => (await db.query<T>(sql, parameters)).rows)

const COUNT = 200

test('each mail is sent once, or nobody knows whether it was', async () => {
  await query(
    `insert into users (id, email, email_verified_at) select gen_random_uuid(), 'day-' || n || '@shop.example', now() from generate_series(1, $1::int) n`,
    [COUNT],
  )
  Object.assign(rig.broker.conditions, { duplicate: 0.3, reorder: 0.3, latency: 20 })
  rig.mail.fault({ code: 'E_RATE_LIMIT_EXCEEDED', times: 60 })
  rig.mail.fault({ code: 'E_INTERNAL_SERVER_ERROR', times: 40 })
  rig.mail.fault({ code: 'lost', times: 10 })
  rig.mail.fault({ code: 'cut', times: 5 })
  const ask = async (n: number) => {
    const { status } = await send(
      'POST',
      `${rig.url}/api/v1/auth/password/reset`,
      { email: `day-${n}@shop.example` },
      {
        'cf-connecting-ip': `198.51.${n % 250}.${n % 200}`,
      },
    )
    return status
  }
  const statuses: number[] = []
  for (let n = 1; n <= COUNT; n += 10) {
    statuses.push(...(await Promise.all(Array.from({ length: 10 }, (_, i) => ask(n + i)))))
    if (n === 51 || n === 121) {
      await rig.kill('api-1')
      await rig.start('api-1')
    }
    if (n === 91) {
      // Consumers that hold a mail have to wait, too.
      await rig.links.database.stop()
      expect(await ask(COUNT + 1)).toBe(503)
      await delay(1500)
      await rig.links.database.start()
    }
  }
  const accepted = statuses.filter((status) => status === 202).length
  expect(accepted).toBeGreaterThan(COUNT - 30)
  await waitFor(
    'all to end',
    async () => {
      // What is due later is due now, and what a dead consumer holds is over.
      await query(`update outbox set available_at = now() where kind = 'mail'`)
      await query(
        `update mails set lease_expires_at = lease_expires_at - interval '10 seconds' where status = 'sending'`,
      )
      await rig.scheduled()
      const [open] = await query(`select from mails where status in ('pending', 'sending') limit 1`)
      return !open
    },
    100_000,
  )
  const rows = await query<{ recipient: string; status: string }>('select recipient, status from mails')
  const arrived = Map.groupBy(rig.mail.mails, ({ to }) => to)
  const most = Math.max(...[...arrived.values()].map((mails) => mails.length))
  const count = (status: string) => rows.filter((row) => row.status === status).length
  console.log(
    `${rows.length} mails: ${count('sent')} sent, ${count('unknown')} unknown, ${count('void')} void; ${arrived.size} people got one, at most ${most}`,
  )
  expect(most).toBe(1)
  for (const { recipient, status } of rows) {
    if (status === 'sent') expect(arrived.get(recipient), recipient).toHaveLength(1)
  }
  // Those whose answer was lost, that broke off, or whose consumer died.
  expect(count('unknown')).toBeGreaterThanOrEqual(15)
  expect(count('unknown')).toBeLessThan(40)
  expect(await query(`select from outbox where kind = 'mail'`)).toEqual([])
}, 150_000)
