/** Pictures by the deployed bundle: two processes at once, and while Cloudflare Images or storage is away. */
import sharp from 'sharp'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { MerchantClient } from '../../client/src/index.ts'
import { type Rig, startRig } from '../../dev/rig/rig.ts'
import { withClient } from '../../scripts/migrate.ts'
import { newMerchantAt } from '../support/merchant.ts'
import { waitFor } from '../support/wait-for.ts'

let rig: Rig
let client: MerchantClient
let headers: Record<string, string>
let photo: Buffer

beforeAll(async () => {
  rig = await startRig({ cron: false })
  const { token, ...made } = await newMerchantAt(rig.url, rig.mail.url)
  client = made.client
  headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  photo = await sharp({ create: { width: 3000, height: 2000, channels: 3, background: '#d22' } })
    .jpeg()
    .toBuffer()
}, 90_000)

afterEach(async () => {
  for (const link of [rig.links.images, rig.links.storage]) {
    link.clearFaults()
    link.delay(0)
    await link.start()
  }
})

afterAll(() => rig?.stop(), 60_000)

const ask = async (path: string, body?: object) => {
  const response = await fetch(`${rig.url}/api/v1${path}`, {
    headers,
    redirect: 'manual',
    ...(body && { method: 'POST', body: JSON.stringify(body) }),
  })
  // `as`: what each route answers.
  const answer = response.status === 302 ? {} : ((await response.json()) as Record<string, unknown>)
  return { status: response.status, code: answer.code, answer, headers: response.headers }
}

test('two processes make one copy', async () => {
  rig.links.images.delay(1500)
  const { id } = await client.assets.upload(photo, { name: 'photo.jpg' })
  const answers = await Promise.all([1, 2, 3, 4].map(() => ask(`/assets/${id}/download?width=320`)))
  expect(answers.map(({ status }) => status)).toEqual([302, 302, 302, 302])
  const paths = answers.map((answer) => new URL(String(answer.headers.get('location'))).pathname)
  expect(new Set(paths).size).toBe(1)
})

test('a client that hangs up leaves a copy, and nobody waits for it in vain', async () => {
  rig.links.images.delay(1500)
  const { id } = await client.assets.upload(photo, { name: 'photo.jpg' })
  const hangUp = new AbortController()
  const asked = fetch(`${rig.url}/api/v1/assets/${id}/download?width=320`, { headers, signal: hangUp.signal })
  await waitFor('somebody makes it', () =>
    withClient(rig.stack.database.adminUrl, async (database) => {
      const { rows } = await database.query('select from asset_copies where asset_id = $1', [id])
      return rows.length > 0
    }),
  )
  hangUp.abort()
  await expect(asked).rejects.toThrow()
  expect((await ask(`/assets/${id}/download?width=320`)).status).toBe(302)
})

test('who takes longer than the claim lasts leaves the next claim alone, and other copies too', async () => {
  const { id } = await client.assets.upload(photo, { name: 'photo.jpg' })
  const small = await ask(`/assets/${id}/download?width=64`)
  const begin = async (width: number) => {
    rig.links.images.delay(1500)
    const asked = ask(`/assets/${id}/download?width=${width}`)
    await waitFor('somebody makes it', async () => (await rowsOf(width)).length > 0)
    return { asked }
  }
  const sql = (text: string, values: unknown[]) =>
    withClient(rig.stack.database.adminUrl, async (database) => (await database.query(text, values)).rows)
  const rowsOf = (width: number) =>
    sql('select lease_expires_at from asset_copies where asset_id = $1 and name = $2', [id, `${width}.webp`])

  // Somebody else has it by now, and this one fails.
  const failing = await begin(320)
  await sql(
    "update asset_copies set lease_expires_at = now() + interval '30 seconds' where asset_id = $1 and name = '320.webp'",
    [id],
  )
  await rig.links.images.stop()
  expect((await failing.asked).status).toBe(503)
  expect(await rowsOf(320)).toHaveLength(1)
  await rig.links.images.start()

  // Somebody else had it, and has given it up, and this one is ready.
  const late = await begin(160)
  await sql("delete from asset_copies where asset_id = $1 and name = '160.webp'", [id])
  expect((await late.asked).status).toBe(503)
  rig.links.images.delay(0)
  expect((await fetch(String(small.headers.get('location')))).status).toBe(200)
  expect((await ask(`/assets/${id}/download?width=160`)).status).toBe(302)
})

test('Cloudflare Images that is away is a 503, and then there is a copy', async () => {
  const { id } = await client.assets.upload(photo, { name: 'photo.jpg' })
  await rig.links.images.stop()
  for (const path of [`/assets/${id}/download?width=160`, `/assets/${id}/checks?channel=amazon-main`]) {
    expect(await ask(path)).toMatchObject({ status: 503, code: 'unavailable' })
  }
  await rig.links.images.start()
  expect((await ask(`/assets/${id}/download?width=160`)).status).toBe(302)
})

test('an answer that is cut off costs no copy', async () => {
  const { id } = await client.assets.upload(photo, { name: 'photo.jpg' })
  const cut = rig.links.images.fault({ kind: 'reset', of: 'answer', after: 300, times: 1 })
  expect((await ask(`/assets/${id}/download?width=1024&format=jpeg`)).status).toBe(302)
  expect(cut.hits).toBe(1)
})

test('storage that is away is a 503', async () => {
  const { id } = await client.assets.upload(photo, { name: 'photo.jpg' })
  await rig.links.storage.stop()
  expect(await ask(`/assets/${id}/download?width=64`)).toMatchObject({ status: 503, code: 'unavailable' })
  expect(await ask(`/assets/${id}/checks`)).toMatchObject({ status: 503, code: 'unavailable' })
  await rig.links.storage.start()
  expect((await ask(`/assets/${id}/download?width=64`)).status).toBe(302)
}, 120_000)

test('an export waits for Cloudflare Images, and is made then', async () => {
  const { id } = await client.assets.upload(photo, { name: 'photo.jpg' })
  await rig.links.images.stop()
  expect((await ask(`/assets/${id}/exports`, { channels: ['shopify'] })).status).toBe(202)
  await waitFor('a delivery has failed', async () =>
    rig.broker.messages.some(
      ({ body, deliveries }) =>
        (body as { kind?: string }).kind === 'export' && deliveries[0]?.endedAt !== undefined,
    ),
  )
  await rig.links.images.start()
  const status = async () => (await ask(`/assets/${id}/exports`)).answer.data as { status: string }[]
  await waitFor('it is made', async () => (await status())[0]?.status === 'succeeded', 50_000)
}, 90_000)

test('a picture that is too heavy for the binding goes by the URL of a zone', async () => {
  const noise = { type: 'gaussian', mean: 128, sigma: 60 } as const
  const heavy = await sharp({ create: { width: 3600, height: 2400, channels: 3, background: '#888', noise } })
    .png({ compressionLevel: 1 })
    .toBuffer()
  expect(heavy.length).toBeGreaterThan(20_000_000)
  const { id } = await client.assets.upload(heavy, { name: 'heavy.png' })
  const { status, headers: answered } = await ask(`/assets/${id}/download?width=320&format=jpeg`)
  expect(status).toBe(302)
  const bytes = await (await fetch(String(answered.get('location')))).bytes()
  expect(await sharp(bytes).metadata()).toMatchObject({ width: 320, height: 213, format: 'jpeg' })
}, 90_000)
