/** A generation's stream that nobody tells of the last event: it looks for it once a minute. */
import { expect, test } from 'vitest'
import { asOwner } from '../support/database.ts'
import { breakModels, generate, newPrompt } from '../support/generations.ts'
import { newTenant } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

test('a stream whose last event was lost on its way ends with it all the same', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'slow', delayMs: 300_000 })
  const { id } = await generate(client, { prompt })
  const stream = await client.open(`/generations/${id}/events`)
  let text = ''
  const ended = (async () => {
    for await (const chunk of (stream.body as ReadableStream<BufferSource>).pipeThrough(
      new TextDecoderStream(),
    ))
      text += chunk
  })()
  await waitFor('it runs', async () => text.includes('event: running'))
  // By its trigger the event is in the table, and nobody has told the feed.
  await asOwner(`update generations set status = 'canceled', completed_at = now() where id = $1`, [id])
  await ended
  expect(text.match(/^event: .*$/gm)).toEqual(['event: queued', 'event: running', 'event: canceled'])
}, 120_000)
