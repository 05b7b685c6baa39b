/** What a job asks of the platform when its provider answers at once, which is what its cost is made of. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Rig, startRig } from '../../dev/rig/rig.ts'
import { startInstantModels } from '../../dev/rig/trials/instant-models.ts'
import { isUpkeep } from '../../dev/rig/trials/replay.ts'
import type { createClient } from '../../scripts/client.ts'
import { signUpByMail } from '../../scripts/inbox.ts'
import { waitFor } from '../support/wait-for.ts'

let models: Awaited<ReturnType<typeof startInstantModels>>
let rig: Rig
let client: ReturnType<typeof createClient>

beforeAll(async () => {
  models = await startInstantModels()
  rig = await startRig({ alone: true, cron: false, settings: { REPLICATE_BASE_URL: models.origin } })
  const account = { email: 'job@example.com', password: 'correct horse battery staple' }
  client = (await signUpByMail(rig.url, rig.mail.url, account)).client
  await client.createWorkspace('Job')
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
    if (!isUpkeep(request)) statements.push(/app\.(\w+)\(gate/.exec(request)?.[1] ?? request)
  })
  for (let i = 1; i <= 5; i++) {
    // The first request of a caller whom the process does not know takes one more.
    if (i === 1) await client.listAssets()
    statements = []
    const started = Date.now()
    const { id } = await client.generate({ task: 'scene', prompt: 'x' })
    await waitFor('it is over', isOver)
    expect(Date.now() - started).toBeLessThan(1000)
    expect(statements).toEqual(['accept', 'claim', 'settle'])
    expect((await client.getGeneration(id)).status).toBe('succeeded')
    expect(rig.broker.counts().jobs?.enqueued).toBe(i)
    expect(models.submissions()).toBe(i)
  }
})
