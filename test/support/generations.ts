/** Generations in tests: asked for, awaited, and made to fail at the model server. */
import { expect } from 'vitest'
import type { Client, GenerationBody } from './client.ts'
import { stack } from './control.ts'
import { asOwner } from './database.ts'
import { waitFor } from './wait-for.ts'

/** A prompt of its own for a fault that is to strike one job only. */
export const newPrompt = () => `Mug ${crypto.randomUUID()}`

export const generate = async (client: Client, input: object = {}): Promise<GenerationBody> => {
  const { status, body } = await client.post<GenerationBody>('/generations', {
    task: 'scene',
    prompt: 'x',
    ...input,
  })
  expect(status, JSON.stringify(body)).toBe(202)
  return body
}

/** @param patience milliseconds */
export const finished = (client: Client, id: string, patience?: number) =>
  waitFor(
    `generation ${id} finishes`,
    async () => {
      const { body } = await client.get<GenerationBody>(`/generations/${id}`)
      return ['succeeded', 'failed', 'canceled'].includes(body.status) && body
    },
    patience,
  )

export interface Fault {
  kind: string
  times?: number
  provider?: string
  retryAfter?: number
  delayMs?: number
  error?: string
}

/** The fault strikes only jobs whose prompt contains `match`. */
export const breakModels = async (match: string, fault: Fault) => {
  const body = JSON.stringify({ ...fault, match })
  const response = await fetch(`${stack.models}/faults`, { method: 'POST', body })
  expect(response.status, await response.text()).toBe(204)
}

/** What Replicate was asked with this prompt. */
export const submissionsOf = async (prompt: string) => {
  const response = await fetch(`${stack.models}/v1/predictions`, {
    headers: { authorization: `Bearer ${stack.replicateToken}` },
  })
  const { results } = (await response.json()) as { results: { input: { prompt?: string }; status: string }[] }
  return results.filter(({ input }) => input.prompt?.includes(prompt))
}

export const eventsOf = async (id: string) => {
  const sql = 'select type from generation_events where generation_id = $1 order by sequence'
  return (await asOwner<{ type: string }>(sql, [id])).map(({ type }) => type)
}

export const creditsOf = async (client: Client) =>
  (await client.get<{ credits: Record<string, number> }>('/usage')).body.credits

export const ledgerOf = (id: string) =>
  asOwner<{ kind: string; credits: number }>(
    'select kind, credits from credit_entries where generation_id = $1 order by kind',
    [id],
  )
