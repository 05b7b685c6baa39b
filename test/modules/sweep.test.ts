/** A sweep where what is due never gets less: everything that was sent is due again at once. */
import { afterAll, expect, test } from 'vitest'
import type { Env } from '../../src/env.ts'
import { sweepOutbox } from '../../src/outbox/outbox.ts'
import { asJson, startAnswers } from '../support/answers.ts'

const TEXT = 25
const NOBODY = '01890000-0000-7000-8000-000000000000'
const rowsOf = (names: string[], rows: (string | null)[][]) => ({
  fields: names.map((name) => ({ name, dataTypeID: TEXT })),
  rows,
  rowCount: rows.length,
  command: 'SELECT',
  rowAsArray: true,
})
const due = Array.from({ length: 100 }, () => [NOBODY, 'user.erase', NOBODY])
const results = [
  rowsOf(['userId', 'workspaceId', 'role', 'plan'], [[null, null, null, null]]),
  rowsOf(['workspace_id', 'kind', 'subject_id'], due),
  rowsOf(['due_in'], [['-1000']]),
]
const proxy = await startAnswers({ '/': asJson({ results }) })
afterAll(proxy.stop)

test('ends after 200 batches, and says that more is due', async () => {
  const sent: number[] = []
  const env = {
    SYSTEM_DATABASE_URL: 'postgres://sweeper:secret@db.example/store',
    DATABASE_HTTP_URL: proxy.url,
    GATE_KEY: 'a key of this test',
    JOBS: { sendBatch: async (messages: unknown[]) => void sent.push(messages.length) },
  } as unknown as Env
  expect(Number(await sweepOutbox(env, 'a sweep'))).toBeLessThan(0)
  expect([sent.length, new Set(sent)]).toEqual([200, new Set([100])])
})
