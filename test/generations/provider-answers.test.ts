/** The engine, when providers answer what they shouldn't: a server of the test's stands in for fal in the middle of a job. */
import { afterEach, expect, test } from 'vitest'
import { makeSamplePhoto } from '../../models/photo.ts'
import { asJson, startAnswers } from '../support/answers.ts'
import type { Client } from '../support/client.ts'
import { asOwner } from '../support/database.ts'
import {
  breakModels,
  creditsOf,
  finished,
  generate,
  newPrompt,
  submissionsOf,
} from '../support/generations.ts'
import { newTenant } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

let stop = () => {}
afterEach(() => stop())

const photo = await makeSamplePhoto()

/** The stand-in: `/done` has a picture at `/slow-picture`, `/text` a page at `/page`, and so on. */
const start = async () => {
  const server = await startAnswers({
    '/broken': asJson({ detail: 'broken' }, 500),
    '/away': asJson({}, 502),
    '/running': asJson({ status: 'IN_PROGRESS' }),
    '/done': asJson({ status: 'COMPLETED' }),
    '/done/result': (request, response) =>
      asJson({ images: [{ url: `http://${request.headers.host}/slow-picture` }] })(request, response),
    '/slow-picture': (_, response) => void setTimeout(() => response.end(photo), 1500),
    '/text': asJson({ status: 'COMPLETED' }),
    '/text/result': (request, response) =>
      asJson({ images: [{ url: `http://${request.headers.host}/page` }] })(request, response),
    '/page': (_, response) => void response.end('We will be back soon.'),
    '/bucket': asJson({ status: 'COMPLETED' }),
    '/bucket/result': asJson({ images: [{ url: 'gs://bucket/picture.png' }] }),
  })
  stop = server.stop
  return server
}

/** A job whose calls, one for each path in order, are the stand-in's from now on; those without stay Replicate's. */
const generateAt = async (client: Client, paths: (string | undefined)[]) => {
  const { url } = await start()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'slow', times: paths.length, delayMs: 120_000 })
  const job = await generate(client, { prompt, count: paths.length })
  await waitFor('the calls are made', async () => {
    const rows = await asOwner(
      `select from provider_jobs j join generations g on g.id = j.generation_id
        where g.id = $1 and operation is not null and g.next_step_at is not null`,
      [job.id],
    )
    return rows.length === paths.length
  })
  for (const [index, path] of paths.entries()) {
    if (!path) continue
    await asOwner(
      `update provider_jobs set provider = 'fal', output = '/images/*/url', operation = $3
        where generation_id = $1 and indexes = array[$2::int]`,
      [
        job.id,
        index,
        JSON.stringify({
          status_url: url + path,
          response_url: `${url}${path}/result`,
          cancel_url: `${url}/away`,
        }),
      ],
    )
  }
  return job
}

test('a call that can not be polled keeps the results of the others from nothing', async () => {
  const { client } = await newTenant()
  const job = await generateAt(client, ['/broken', '/done'])
  await waitFor('the other picture is stored', async () => {
    const rows = await asOwner(
      `select from provider_jobs where generation_id = $1 and status = 'succeeded' and jsonb_array_length(stored) = 1`,
      [job.id],
    )
    return rows.length === 1
  })
  await asOwner(`update generations set deadline_at = now() where id = $1`, [job.id])
  expect(await finished(client, job.id)).toMatchObject({ status: 'succeeded', creditsCharged: 4 })
})

test('results that waited for storage once give what still runs no more time than it had', async () => {
  const { client } = await newTenant()
  const job = await generateAt(client, ['/running', '/done'])
  await asOwner(`update generations set results_at = now(), deadline_at = now() where id = $1`, [job.id])
  const done = await finished(client, job.id, 20_000)
  expect(done).toMatchObject({ status: 'succeeded', creditsCharged: 4 })
  expect(done.outputs).toHaveLength(1)
})

test('what a call has made counts when its provider forgets it, and is not made again', async () => {
  const { client } = await newTenant()
  const job = await generateAt(client, ['/gone', '/done'])
  const object = {
    kind: 'image',
    mimeType: 'image/png',
    width: 8,
    height: 8,
    size: 1,
    sha256: '0'.repeat(64),
  }
  // Its first call is to make both, and one of them is in storage.
  await asOwner(`delete from provider_jobs where generation_id = $1 and indexes = '{1}'`, [job.id])
  await asOwner(
    `update provider_jobs set indexes = '{0,1}', object_ids = object_ids || gen_random_uuid(),
        stored = jsonb_build_array(jsonb_build_object('index', 0, 'objectId', object_ids[1], 'name', 'x', 'object', $2::jsonb))
      where generation_id = $1`,
    [job.id, JSON.stringify(object)],
  )
  const done = await finished(client, job.id, 20_000)
  expect(done).toMatchObject({ status: 'succeeded', attempts: 2, creditsCharged: 4 })
  expect(done.outputs).toHaveLength(1)
  expect(await creditsOf(client)).toMatchObject({ reserved: 0, charged: 4 })
})

test('a page in the place of a picture is no output, and is not charged', async () => {
  const { client } = await newTenant()
  const job = await generateAt(client, ['/text'])
  expect(await finished(client, job.id)).toMatchObject({
    status: 'failed',
    error: { code: 'no_output' },
    creditsCharged: 0,
  })
})

test('a result whose address can not be fetched is made by another call', async () => {
  const { client } = await newTenant()
  const job = await generateAt(client, ['/bucket'])
  expect(await finished(client, job.id)).toMatchObject({ status: 'succeeded', attempts: 2 })
})

test('a provider that does not hear of a cancellation keeps the others from nothing', async () => {
  const { client } = await newTenant()
  const job = await generateAt(client, ['/running', undefined])
  await client.post(`/generations/${job.id}/cancel`)
  await waitFor('the other is told', async () => {
    const rows = await submissionsOf(String(job.prompt))
    return rows.some(({ status }) => status === 'canceled')
  })
})
