/** Calls that are made while the database is away: what they are called is known here only. */
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { modelsOf } from '../../src/catalogue/catalogue.ts'
import { systemContext } from '../../src/context.ts'
import type { Env } from '../../src/env.ts'
import { planCalls, submitJobs } from '../../src/generations/engine/submit.ts'
import type { JobProvider } from '../../src/providers/provider.ts'
import { asJson, startAnswers } from '../support/answers.ts'

const NOBODY = '01890000-0000-7000-8000-000000000000'
const database = await startAnswers({ '/': asJson({ message: 'away' }, 503) })
const known = Reflect.get(globalThis, 'scheduler')
beforeAll(() => {
  vi.useFakeTimers({ toFake: ['Date'] })
  // Nobody waits for the forty seconds here.
  Object.assign(globalThis, {
    scheduler: { wait: async (ms: number) => void vi.setSystemTime(Date.now() + ms) },
  })
})
afterEach(() => vi.restoreAllMocks())
afterAll(() => {
  vi.useRealTimers()
  Object.assign(globalThis, { scheduler: known })
  database.stop()
})

test('what a provider calls a job is kept by the step while the database is away', async () => {
  vi.spyOn(console, 'log').mockImplementation(() => undefined)
  // `as`: what is read.
  const env = {
    PUBLIC_URL: 'https://api.example.com',
    SYSTEM_DATABASE_URL: 'postgres://sweeper:secret@db.example/store',
    TENANT_DATABASE_URL: 'postgres://tenant:secret@db.example/store',
    DATABASE_URL: 'postgres://tenant:secret@db.example/store',
    DATABASE_HTTP_URL: database.url,
    GATE_KEY: 'a key of this test',
  } as unknown as Env
  const offer = modelsOf(env)
    .find(({ task }) => task === 'scene')
    ?.offers.find(({ provider }) => provider === 'fal')
  if (!offer) throw new Error('no offer')
  const operation = { id: 'operation 1' }
  const provider = {
    keepsJobs: true,
    tells: () => false,
    submit: async () => ({ operation, standing: { status: 'running', phase: 'running' } }),
  } as unknown as JobProvider
  const ctx = {
    ...systemContext(env, { id: 'a step', waitUntil: null, workspaceId: NOBODY }),
    workspaceId: NOBODY,
  }
  const row = {
    id: NOBODY,
    workspaceId: NOBODY,
    task: 'scene',
    prompt: 'A mug',
    text: null,
    style: null,
    aspectRatio: null,
  }
  const claim = {
    ...row,
    seed: null,
    duration: null,
    count: 1,
    inputAssetIds: [],
    inputs: [],
    jobs: [],
  } as unknown as Parameters<typeof planCalls>[0]
  const calls = planCalls(claim, offer, [0])
  const submitted = await submitJobs(ctx, claim, offer, provider, calls)
  expect(submitted).toMatchObject([
    {
      job: { operation, status: 'running' },
      changes: { operation, status: 'running' },
      standing: { status: 'running' },
    },
  ])
})
