/** What the database does not get done in time: the caller hears of it, and nothing of it is done later. */
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { asOwner, holdRow } from '../support/database.ts'
import { newTenant } from '../support/tenants.ts'

const unavailable = { status: 503, body: { code: 'unavailable' } }

test.concurrent('a change that waits in vain for its turn answers 503', async () => {
  const { client, workspaceId } = await newTenant()
  const { release } = await holdRow('workspaces', workspaceId)
  const answer = await client.patch(`/workspaces/${workspaceId}`, { name: 'late' })
  expect(answer).toMatchObject(unavailable)
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
  await release()
  expect((await client.get(`/workspaces/${workspaceId}`)).body).toMatchObject({ name: 'Test Store' })
})

const [{ bounded } = { bounded: false }] = await asOwner<{ bounded: boolean }>(
  `select current_setting('server_version_num')::int >= 170000 as bounded`,
)

test.concurrent('a transaction is over before the Worker gives up, whatever its statements wait for', {
  skip: !bounded,
}, async () => {
  const { client, workspaceId } = await newTenant()
  const { body } = await client.upload('a.txt', 'some text')
  const turn = await holdRow('workspaces', workspaceId)
  const row = await holdRow('assets', body.id)
  const deleted = client.delete(`/assets/${body.id}`)
  await turn.whenWaiting(1)
  await delay(3000)
  await turn.release()
  expect(await deleted).toMatchObject(unavailable)
  await row.release()
  // It has to wait for the turn of a deletion that goes on.
  expect(await client.patch(`/assets/${body.id}`, { name: 'b.txt' })).toMatchObject({ status: 200 })
})
