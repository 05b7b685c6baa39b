/** What a job asks of the platform when its provider answers at once, which is what its cost is made of. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { MerchantClient } from '../../client/src/index.ts'
import { type Rig, startRig } from '../../dev/rig/rig.ts'
import { startInstantModels } from '../../dev/rig/trials/instant-models.ts'
import { isUpkeep } from '../../dev/rig/trials/replay.ts'
import { newMerchantAt } from '../support/merchant.ts'
import { waitFor } from '../support/wait-for.ts'

let models: Awaited<ReturnType<typeof startInstantModels>>
let rig: Rig
let client: MerchantClient

beforeAll(async () => {
  models = await startInstantModels()
  rig = await startRig({ alone: true, cron: false, settings: { REPLICATE_BASE_URL: models.origin } })
  client = (await newMerchantAt(rig.url, rig.mail.url)).client
}, 90_000)

afterAll(async () => {
  await rig?.stop()
  models?.stop()
}, 60_000)

const isOver = async () => {
  const { enqueued, acked } = rig.broker.counts().jobs ?? {}
  return enqueued !== 0 && enqueued === acked
}

test('a job is one message, three requests to the database, and one submission, and ends in a second', async () => {
  let statements: string[] = []
  rig.links.database.watch((request) => {
    if (!isUpkeep(request)) statements.push(/\\"what\\":\\"(\w+)\\"/.exec(request)?.[1] ?? request)
  })
  for (let i = 1; i <= 5; i++) {
    // The first request of a caller whom the process does not know takes one more.
    if (i === 1) await client.get('/assets')
    statements = []
    const started = Date.now()
    const { id } = await client.post('/generations', { body: { task: 'scene', prompt: 'x' } })
    await waitFor('it is over', isOver)
    expect(Date.now() - started).toBeLessThan(1000)
    expect(statements).toEqual(['accept', 'claim', 'settle'])
    expect((await client.generations.get(id)).status).toBe('succeeded')
    expect(rig.broker.counts().jobs?.enqueued).toBe(i)
    expect(models.submissions()).toBe(i)
  }
})
