/** Attempts of deliveries: one at a time, recorded by who has the claim, and none at what hangs. */
import { expect, test } from 'vitest'
import { owed } from '../support/assets.ts'
import { control } from '../support/control.ts'
import { asOwner, holdRow } from '../support/database.ts'
import { newTenant, type Tenant } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'
import {
  answers,
  at,
  base,
  findEndpoint,
  holdAnswer,
  messageOf,
  newDelivery,
  newEndpoint,
  newPath,
  runJob,
  stored,
} from '../support/webhooks.ts'

test('messages that come during an attempt make no other', async () => {
  const tenant = await newTenant()
  const path = newPath()
  await newEndpoint(tenant, path, ['failed'])
  const id = await newDelivery(tenant)
  const answer = holdAnswer(path)
  const message = messageOf(tenant, id)
  await control('enqueue', [message, message, message])
  await waitFor('the attempt', async () => at(path).length === 1)
  answer()
  await waitFor('it is delivered', async () => (await stored(id))?.status === 'delivered')
  // By the end of a job all three are long over.
  await runJob(tenant)
  expect(at(path)).toHaveLength(1)
  expect(await stored(id)).toEqual({ status: 'delivered', attempts: 1, response_status: 204, error: null })
})

test('an attempt under way counts, though its endpoint is disabled meanwhile', async () => {
  const tenant = await newTenant()
  const path = newPath()
  const endpoint = await newEndpoint(tenant, path, ['failed'])
  const id = await newDelivery(tenant)
  const answer = holdAnswer(path)
  const message = messageOf(tenant, id)
  await control('enqueue', [message])
  await waitFor('the attempt', async () => at(path).length === 1)
  await tenant.client.patch(`/webhooks/${endpoint.id}`, { enabled: false })
  await control('enqueue', [message, message])
  await runJob(tenant)
  answer()
  await waitFor('it is delivered', async () => (await stored(id))?.status === 'delivered')
})

test('what is sent again during an attempt has an outcome of its own', async () => {
  const tenant = await newTenant()
  const path = newPath()
  await newEndpoint(tenant, path)
  const answer = holdAnswer(path)
  await runJob(tenant)
  await waitFor('the attempt', async () => at(path).length === 1)
  const id = String(at(path)[0]?.headers['webhook-id'])
  const answerAgain = holdAnswer(path, 500)
  expect((await tenant.client.post(`/webhooks/deliveries/${id}/resend`)).status).toBe(202)
  await waitFor('another attempt', async () => at(path).length === 2)
  answer()
  await waitFor('the first is over', async () => at(path)[0]?.isOver)
  await runJob(tenant)
  expect(await stored(id)).toMatchObject({ status: 'pending', attempts: 0, error: null })
  answerAgain()
  await waitFor('the second is recorded', async () => (await stored(id))?.error === 'answered 500')
  expect(await stored(id)).toMatchObject({ status: 'pending', attempts: 1 })
})

test('an attempt that outlasts its lease decides nothing once another has begun', async () => {
  const tenant = await newTenant()
  const path = newPath()
  await newEndpoint(tenant, path, ['failed'])
  const id = await newDelivery(tenant)
  const answer = holdAnswer(path, 500)
  await control('enqueue', [messageOf(tenant, id)])
  await waitFor('the attempt', async () => at(path).length === 1)
  // As if somebody else had claimed it.
  await asOwner(`update webhook_deliveries set next_attempt_at = now() + interval '1 hour' where id = $1`, [
    id,
  ])
  answer()
  await waitFor('it is over', async () => at(path)[0]?.isOver)
  await runJob(tenant)
  expect(await stored(id)).toMatchObject({ status: 'pending', attempts: 0, error: null })
  expect(await findEndpoint(tenant)).toMatchObject({ failingSince: null })
})

test('an attempt that broke off is made again when its lease is over', async () => {
  const tenant = await newTenant()
  const path = newPath()
  await newEndpoint(tenant, path, ['failed'])
  const id = await newDelivery(tenant)
  // As if it had been claimed, and the sweeper come to its note.
  await asOwner(
    `update webhook_deliveries set next_attempt_at = now() + interval '2 seconds' where id = $1`,
    [id],
  )
  await asOwner(
    `insert into outbox (workspace_id, kind, subject_id, available_at)
     values ($1, 'webhook.deliver', $2, now() + interval '2 seconds')`,
    [tenant.workspaceId, id],
  )
  await control('enqueue', [messageOf(tenant, id)])
  await waitFor('it is delivered', async () => {
    await control('cron')
    return (await stored(id))?.status === 'delivered'
  })
  expect(at(path)).toHaveLength(1)
})

test('a message that comes again makes no attempt before the next one is due', async () => {
  const tenant = await newTenant()
  const path = newPath()
  answers.set(path, 500)
  await newEndpoint(tenant, path, ['failed'])
  const id = await newDelivery(tenant)
  const message = messageOf(tenant, id)
  await control('enqueue', [message])
  await waitFor('the first attempt', async () => (await stored(id))?.attempts === 1)
  const due = (when: string) =>
    asOwner(`update webhook_deliveries set next_attempt_at = now() + $2::interval where id = $1`, [id, when])
  await due('1 hour')
  await control('enqueue', [message, message, message])
  // By the end of a job all three are long over.
  await runJob(tenant)
  expect(at(path)).toHaveLength(1)
  expect(await owed(tenant.workspaceId)).toEqual([{ kind: 'webhook.deliver' }])
  await due('0')
  await control('enqueue', [message])
  await waitFor('the second attempt', async () => (await stored(id))?.attempts === 2)
})

test('an endpoint that hangs is tried once a minute, and its other deliveries are put off, until it answers', async () => {
  const tenant = await newTenant()
  const path = newPath()
  const endpoint = await newEndpoint(tenant, path, ['failed'])
  // As if four attempts had timed out before.
  await asOwner('update webhook_endpoints set silent_attempts = 4 where id = $1', [endpoint.id])
  holdAnswer(path)
  const fifth = await newDelivery(tenant)
  await control('enqueue', [messageOf(tenant, fifth)])
  await waitFor('it times out', async () => (await stored(fifth))?.error === 'timed out')
  const putOff = { status: 'pending', attempts: 1, error: expect.stringContaining('put off') }
  const next = await newDelivery(tenant)
  await control('enqueue', [messageOf(tenant, next)])
  await waitFor('the next is put off', async () => (await stored(next))?.attempts === 1)
  expect(await stored(next)).toMatchObject(putOff)
  expect(at(path)).toHaveLength(1)

  await asOwner('update webhook_endpoints set quiet_until = now() where id = $1', [endpoint.id])
  const answer = holdAnswer(path)
  const both = [await newDelivery(tenant), await newDelivery(tenant)]
  await control(
    'enqueue',
    both.map((id) => messageOf(tenant, id)),
  )
  const find = async (status: string, attempts: number) => {
    for (const id of both)
      if ((await stored(id))?.status === status && (await stored(id))?.attempts === attempts) return id
    return undefined
  }
  const other = await waitFor('one of two is put off', () => find('pending', 1))
  await waitFor('the trial', async () => at(path).length === 2)
  answer()
  await waitFor('the other is delivered', () => find('delivered', 1))
  await asOwner('update webhook_deliveries set next_attempt_at = null where id = $1', [other])
  await control('enqueue', [messageOf(tenant, other)])
  await waitFor('then all are', async () => (await stored(other))?.status === 'delivered')
  expect(await findEndpoint(tenant)).toMatchObject({ failingSince: null, enabled: true })
})

test('a host that hangs is left alone when generations name it, and an endpoint there is not, until it answers', async () => {
  const tenant = await newTenant()
  const other = await newTenant()
  const paths = Array.from({ length: 5 }, newPath)
  for (const path of paths) holdAnswer(path)
  const enqueue = async (of: Tenant, path: string) => {
    const id = await newDelivery(of, base + path)
    await control('enqueue', [messageOf(of, id)])
    return id
  }
  const hanging = await Promise.all(paths.map((path) => enqueue(tenant, path)))
  for (const id of hanging) {
    await waitFor('it times out', async () => (await stored(id))?.error === 'timed out')
  }
  const path = newPath()
  const putOff = await enqueue(tenant, path)
  await waitFor('the next is put off', async () => (await stored(putOff))?.attempts === 1)
  expect(await stored(putOff)).toMatchObject({ status: 'pending', error: expect.stringContaining('put off') })
  expect(at(path)).toEqual([])
  const ofOther = await enqueue(other, path)
  await waitFor(
    "another workspace's is delivered",
    async () => (await stored(ofOther))?.status === 'delivered',
  )
  await newEndpoint(tenant, path, ['failed'])
  const toEndpoint = await newDelivery(tenant)
  await control('enqueue', [messageOf(tenant, toEndpoint)])
  await waitFor("the endpoint's is delivered", async () => (await stored(toEndpoint))?.status === 'delivered')

  await waitFor(
    'the trial',
    async () => {
      // Not during an attempt, whose lease is longer than the wait of what was put off.
      await asOwner(
        `update webhook_deliveries set next_attempt_at = null, attempts = 0
          where id = $1 and next_attempt_at < now() + interval '10 seconds'`,
        [putOff],
      )
      await control('enqueue', [messageOf(tenant, putOff)])
      return (await stored(putOff))?.status === 'delivered'
    },
    40_000,
  )
  const next = await enqueue(tenant, path)
  await waitFor('then all are', async () => (await stored(next))?.status === 'delivered')
}, 90_000)

test('attempts are recorded while somebody else changes the workspace', async () => {
  const tenant = await newTenant()
  const path = newPath()
  answers.set(path, 500)
  await newEndpoint(tenant, path, ['failed'])
  const id = await newDelivery(tenant)
  const holder = await holdRow('workspaces', tenant.workspaceId)
  await control('enqueue', [messageOf(tenant, id)])
  await waitFor('the failure is recorded', async () => (await stored(id))?.attempts === 1)
  answers.delete(path)
  await asOwner('update webhook_deliveries set next_attempt_at = null where id = $1', [id])
  await control('enqueue', [messageOf(tenant, id)])
  await waitFor('the success is recorded', async () => (await stored(id))?.status === 'delivered')
  await holder.release()
  expect(await findEndpoint(tenant)).toMatchObject({ failingSince: null, enabled: true })
})

test('a target that never answers does not hold up jobs', async () => {
  const tenant = await newTenant()
  const path = newPath()
  const answer = holdAnswer(path)
  await newEndpoint(tenant, path, [])
  await runJob(tenant)
  await waitFor('an attempt', async () => at(path).length > 0)
  await runJob(tenant)
  expect(at(path)[0]).toMatchObject({ isOver: false })
  answer()
  await waitFor('all are delivered', async () => at(path).length === 6)
})
