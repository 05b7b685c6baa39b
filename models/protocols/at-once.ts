/** What OpenAI's and Cloudflare's APIs have in common: the pictures come with the answer, so the call lasts as long. */

import type { ServerContext } from './context.ts'
import type { Provider } from './faults.ts'
import { type Call, Refusal, sendGarbled, sendHalf, sendJson } from './http.ts'
import type { Order } from './order.ts'

/** Longer than any call is held. */
const maxSeconds = 120

/** A base64 picture as an address that can be downloaded. */
export const toDataUrl = (base64: string): string => `data:application/octet-stream;base64,${base64}`

/**
 * Renders while the caller waits, cancels when the caller goes, and answers with what `present` makes of the files.
 * `explain` turns the error of a failed prediction into a refusal.
 */
export async function answerAtOnce(
  { response }: Call,
  { faults, predictions }: ServerContext,
  options: {
    provider: Provider
    model: string
    order: Order
    isGarbled: boolean
    explain(error: string): Refusal
    present(files: Uint8Array[]): unknown
  },
): Promise<void> {
  const { provider, model, order, isGarbled, explain, present } = options
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const { id } = predictions.create(order, { provider, model })
  await predictions.wait(id, maxSeconds * 1000, gone.signal)
  // Changes nothing if it has ended.
  const prediction = predictions.cancel(id)
  const files = predictions.take(id)
  if (gone.signal.aborted) return
  if (prediction?.status === 'canceled') throw new Refusal(408, 'The request timed out.')
  if (prediction?.status !== 'succeeded') throw explain(prediction?.error ?? 'The prediction is gone.')
  const damage = faults.take(['broken_output', 'missing_output'], provider, order.prompt)?.kind
  const body = present(damage === 'missing_output' ? [] : files)
  if (isGarbled) return sendGarbled(response, 200, body)
  if (damage === 'broken_output')
    return sendHalf(response, 200, 'application/json', Buffer.from(JSON.stringify(body)))
  sendJson(response, 200, body)
}
