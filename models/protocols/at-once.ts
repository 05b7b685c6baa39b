/** What OpenAI's, Gemini's and Cloudflare's APIs have in common: the pictures come with the answer, which takes as long. */

import { ContentError } from './content.ts'
import type { ServerContext } from './context.ts'
import type { Provider } from './faults.ts'
import { type Call, Refusal, sendGarbled, sendHalf, sendJson } from './http.ts'
import type { Order } from './order.ts'
import type { Creation } from './prediction.ts'

/** Longer than any call is held. */
const maxSeconds = 300

/**
 * Renders while the caller waits, cancels when the caller goes, and answers with what `present` makes of the files.
 * `explain` turns what a failed prediction failed with into a refusal.
 */
export async function answerAtOnce(
  { response }: Call,
  { faults, predictions }: ServerContext,
  options: {
    provider: Provider
    model: string
    order: Order
    refusal: Creation['refusal']
    isGarbled: boolean
    explain(problem: unknown): Refusal
    present(files: Uint8Array[]): unknown
  },
): Promise<void> {
  const { provider, model, order, refusal, isGarbled, explain, present } = options
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const { id } = predictions.create(order, { provider, model, refusal })
  await predictions.wait(id, maxSeconds * 1000, gone.signal)
  // Changes nothing if it has ended.
  const prediction = predictions.cancel(id)
  const problem = predictions.problem(id)
  const files = predictions.take(id)
  if (gone.signal.aborted) return
  if (prediction?.status === 'canceled') throw new Refusal(408, 'The request timed out.')
  if (prediction?.status !== 'succeeded') throw explain(problem)
  const target = { provider, model, prompt: order.prompt }
  const damage = faults.take(['broken_output', 'missing_output'], target)?.kind
  const body = present(damage === 'missing_output' ? [] : files)
  if (isGarbled) return sendGarbled(response, 200, body)
  if (damage === 'broken_output')
    return sendHalf(response, 200, 'application/json', Buffer.from(JSON.stringify(body)))
  sendJson(response, 200, body)
}

/** The words of whatever a prediction failed with. */
export const messageOf = (problem: unknown): string =>
  problem instanceof Error ? problem.message : 'The prediction is gone.'

/** Whether a prediction failed because of its content, be it that a fault words it so. */
export const isContentProblem = (problem: unknown): boolean =>
  problem instanceof ContentError || /nsfw|safety|moderation/i.test(messageOf(problem))
