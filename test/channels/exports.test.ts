/** Copies that channels accept: made once, kept to the quota, or refused by name. */
import sharp from 'sharp'
import { v7 as uuidv7 } from 'uuid'
import { expect, test } from 'vitest'
import { markAsGenerated } from '../../src/assets/provenance.ts'
import { download, objectsOf, owed } from '../support/assets.ts'
import { tally, times } from '../support/at-once.ts'
import type { AssetBody, Client, Page } from '../support/client.ts'
import { control } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { film, product, scene } from '../support/pictures.ts'
import { addMember, newTenant } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

interface Export {
  id: string
  channel: string
  status: string
  outputId: string | null
  refusal: { code: string; detail: string; helps: string | null } | null
}

const exportsOf = async (client: Client, id: string) =>
  (await client.get<Page<Export>>(`/assets/${id}/exports`)).body.data

/** Asks for exports and waits until all have ended. */
const exported = async (client: Client, id: string, channels: string[]) => {
  const { status, body } = await client.post<{ data: Export[] }>(`/assets/${id}/exports`, { channels })
  expect(status, JSON.stringify(body)).toBe(202)
  return waitFor(
    'the exports end',
    async () => {
      const all = await exportsOf(client, id)
      return all.every(({ status }) => status !== 'queued') && all
    },
    30_000,
  )
}

const bytesOf = async (client: Client, id: string | null | undefined) =>
  Buffer.from(await (await fetch(await download(client, String(id)))).arrayBuffer())

const passes = async (client: Client, id: string | null | undefined, channel: string) => {
  const { body } = await client.get<{ data: { passes: boolean }[] }>(
    `/assets/${id}/checks?channel=${channel}`,
  )
  return body.data[0]?.passes
}

const marked = async (bytes: Buffer) => {
  const chunks = markAsGenerated(
    (async function* () {
      yield bytes
    })(),
    'trainedAlgorithmicMedia',
  )
  return Buffer.concat(await Array.fromAsync(chunks))
}

const pictureChannels = ['amazon-main', 'google-merchant', 'shopify', 'instagram-feed', 'web']

test('a cutout becomes what each channel of pictures accepts', async () => {
  const { client, workspaceId, userId } = await newTenant()
  const cutout = await marked(await product(3000, 2400, 0.7).png().toBuffer())
  const { body } = await client.upload('red thing.png', cutout)
  const made = await exported(client, body.id, pictureChannels)
  expect(made.map(({ status, refusal }) => refusal ?? status)).toEqual(Array(5).fill('succeeded'))
  for (const { channel, outputId } of made) {
    expect(await passes(client, outputId, channel), channel).toBe(true)
    const bytes = await bytesOf(client, outputId)
    expect(bytes.includes('digitalsourcetype/trainedAlgorithmicMedia'), channel).toBe(true)
    const { body: asset } = await client.get<AssetBody>(`/assets/${outputId}`)
    const mimeType = channel === 'web' ? 'image/webp' : 'image/jpeg'
    expect(asset).toMatchObject({ source: 'export', status: 'ready', createdBy: userId, mimeType })
    const { body: lineage } = await client.get(`/assets/${outputId}/lineage`)
    expect(lineage).toMatchObject({ generation: null, export: { assetId: body.id, channel } })
  }
  const amazon = made.find(({ channel }) => channel === 'amazon-main')
  const { data, info } = await sharp(await bytesOf(client, amazon?.outputId))
    .raw()
    .toBuffer({ resolveWithObject: true })
  expect([info.width, info.height]).toEqual([2000, 2000])
  expect([...data.subarray(0, 3)]).toEqual([255, 255, 255])
  const web = made.find(({ channel }) => channel === 'web')
  expect(await sharp(await bytesOf(client, web?.outputId)).metadata()).toMatchObject({
    hasAlpha: true,
    width: 2048,
  })
  const { body: list } = await client.get<Page<AssetBody>>('/assets?source=export')
  expect(list.data).toHaveLength(5)
  expect(list.data.map(({ name }) => name)).toContain('red thing-amazon-main.jpg')
  const log = await asOwner<{ action: string; actor_type: string }>(
    "select action, actor_type from audit_logs where workspace_id = $1 and action like 'export.%'",
    [workspaceId],
  )
  expect(tally(log.map(({ action, actor_type }) => ({ status: `${action} ${actor_type}` })))).toEqual({
    'export.create user': 5,
    'export.finish system': 5,
  })
  expect(await owed(workspaceId)).toEqual([])
})

test.each([
  ['a scene', () => scene(1600, 1200).jpeg().toBuffer(), 'amazon-main', 'no_cutout', 'cutout'],
  [
    'a product on grey',
    () => product(1600, 1600, 0.8, '#eee').flatten().jpeg().toBuffer(),
    'google-merchant',
    'no_cutout',
    'cutout',
  ],
  ['a small cutout', () => product(600, 600, 0.3).png().toBuffer(), 'amazon-main', 'too_small', 'upscale'],
  ['a narrow picture', () => scene(200, 300).jpeg().toBuffer(), 'instagram-feed', 'too_small', 'upscale'],
  ['a picture', () => scene(900, 1600).jpeg().toBuffer(), 'instagram-reel', 'wrong_kind', 'animate'],
  [
    'half a picture',
    async () => (await scene(900, 1600).jpeg().toBuffer()).subarray(0, 90_000),
    'shopify',
    'unreadable',
    null,
  ],
  [
    'nothing but transparency',
    () =>
      sharp({ create: { width: 900, height: 900, channels: 4, background: '#0000' } })
        .png()
        .toBuffer(),
    'amazon-main',
    'no_cutout',
    'cutout',
  ],
  ['a short film', () => film({ seconds: 2 }), 'tiktok', 'not_met', null],
  ['a text', async () => Buffer.from('text'), 'web', 'wrong_kind', null],
])('%s is refused by name', async (_, make, channel, code, helps) => {
  const { client, workspaceId } = await newTenant()
  const { body } = await client.upload('file', await make())
  expect(await exported(client, body.id, [channel])).toMatchObject([
    { status: 'refused', outputId: null, refusal: { code, helps, detail: expect.stringMatching(/\.$/) } },
  ])
  expect((await client.get<Page<AssetBody>>('/assets')).body.data).toHaveLength(1)
  expect(await objectsOf(workspaceId)).toHaveLength(1)
})

test('a packshot on white is cropped to the product and placed anew', async () => {
  const { client } = await newTenant()
  const { body } = await client.upload(
    'a.jpg',
    await product(4000, 3000, 0.5, '#fff').flatten().jpeg().toBuffer(),
  )
  const [made] = await exported(client, body.id, ['amazon-main'])
  expect(made).toMatchObject({ status: 'succeeded' })
  expect(await sharp(await bytesOf(client, made?.outputId)).metadata()).toMatchObject({
    width: 2000,
    height: 2000,
  })
})

test('a tall picture is padded to a shape that is taken, and not enlarged', async () => {
  const { client } = await newTenant()
  const { body } = await client.upload('a.jpg', await scene(500, 1000).jpeg().toBuffer())
  const [made] = await exported(client, body.id, ['instagram-feed'])
  expect(await sharp(await bytesOf(client, made?.outputId)).metadata()).toMatchObject({
    width: 800,
    height: 1000,
  })
})

test('a film gets its index in front, and plays the same', async () => {
  const { client } = await newTenant()
  const original = await film()
  const { body } = await client.upload('reel.mp4', original)
  const [made] = await exported(client, body.id, ['instagram-reel'])
  expect(made).toMatchObject({ status: 'succeeded' })
  const bytes = await bytesOf(client, made?.outputId)
  expect(bytes.length).toBe(original.length)
  expect(bytes.indexOf('moov')).toBeLessThan(bytes.indexOf('mdat'))
  expect(await passes(client, made?.outputId, 'instagram-reel')).toBe(true)
})

test('the quota holds for exports at the same time', async () => {
  const { client, workspaceId } = await newTenant()
  const { body } = await client.upload('a.jpg', await scene(1400, 1400).jpeg().toBuffer())
  const [first] = await exported(client, body.id, ['shopify'])
  const { body: one } = await client.get<AssetBody>(`/assets/${first?.outputId}`)
  await asOwner(
    `insert into assets (workspace_id, id, name, kind, mime_type, size, sha256, source, status)
     select $1, gen_random_uuid(), 'filler', 'document', 'text/plain', 1024 * 1024 * 1024 - stored_bytes - $2, '', 'upload', 'ready'
       from workspace_counters where workspace_id = $1`,
    [workspaceId, Math.floor(one.size * 1.5)],
  )
  const made = await exported(client, body.id, ['shopify', 'instagram-feed'])
  expect(tally(made.map(({ status, refusal }) => ({ status: refusal?.code ?? status })))).toEqual({
    succeeded: 2,
    storage_quota_exceeded: 1,
  })
  expect(await objectsOf(workspaceId)).toHaveLength(3)
  expect(await asOwner('select from app.wrong_counters() id where id = $1', [workspaceId])).toEqual([])
})

test('messages that come again make nothing again, and who asks twice gets the same', async () => {
  const { client, workspaceId } = await newTenant()
  const { body } = await client.upload('a.jpg', await scene(1600, 1600).jpeg().toBuffer())
  const answers = await times(4, () =>
    client.post<{ data: Export[] }>(`/assets/${body.id}/exports`, { channels: ['shopify', 'shopify'] }),
  )
  const ids = new Set(answers.flatMap(({ body }) => body.data.map(({ id }) => id)))
  for (const subjectId of ids) {
    await control('enqueue', Array(3).fill({ kind: 'export', workspaceId, subjectId }))
  }
  const made = await exported(client, body.id, ['web'])
  expect(made.length).toBe(ids.size + 1)
  const { body: list } = await client.get<Page<AssetBody>>('/assets?source=export')
  expect(list.data).toHaveLength(made.length)
  // The same bytes are kept once; what is left over goes in a minute.
  await asOwner('update outbox set available_at = now() where workspace_id = $1', [workspaceId])
  await control('cron')
  await waitFor('nothing is owed', async () => (await owed(workspaceId)).length === 0)
})

test('what fails for a day is refused, what died of it is not made again, and what only waited is made', async () => {
  const { client, workspaceId } = await newTenant()
  const bytes = await scene(1600, 1600).jpeg().toBuffer()
  const { body: here } = await client.upload('a.jpg', bytes)
  const { body: away } = await client.upload('b.jpg', await scene(1700, 1700).jpeg().toBuffer())
  // In a storage that nobody reaches.
  await asOwner(`update assets set store = 'fallback' where id = $1`, [away.id])
  /** One of two days ago, that had been taken until then; it comes again. */
  const old = async (assetId: string, channel: string, leaseExpiresAt: string | null) => {
    const id = uuidv7()
    await asOwner(
      `insert into asset_exports (workspace_id, id, asset_id, channel, output_id, created_at, lease_expires_at)
       values ($1, $2, $3, $4, $2, now() - interval '2 days', now() + $5::interval)`,
      [workspaceId, id, assetId, channel, leaseExpiresAt],
    )
    await control('enqueue', [{ kind: 'export', workspaceId, subjectId: id }])
  }
  await old(here.id, 'shopify', '-1 minute')
  await old(here.id, 'web', null)
  await old(away.id, 'shopify', null)
  const endOf = async (id: string, channel: string) => {
    const { status, refusal } = (await exportsOf(client, id)).find((one) => one.channel === channel) ?? {}
    return status !== 'queued' && { status, code: refusal?.code }
  }
  const ends = () =>
    Promise.all([endOf(here.id, 'shopify'), endOf(here.id, 'web'), endOf(away.id, 'shopify')])
  const refused = { status: 'refused', code: 'service_unavailable' }
  const ended = await waitFor('the exports end', async () => {
    const all = await ends()
    return all.every(Boolean) && all
  })
  expect(ended).toEqual([refused, { status: 'succeeded' }, refused])
})

test('an asset that is deleted meanwhile leaves nothing', async () => {
  const { client, workspaceId } = await newTenant()
  const { body } = await client.upload('a.jpg', await scene(3000, 3000).jpeg().toBuffer())
  expect((await client.post(`/assets/${body.id}/exports`, { channels: ['shopify'] })).status).toBe(202)
  expect((await client.delete(`/assets/${body.id}`)).status).toBe(204)
  await waitFor('the job to end', async () =>
    (await owed(workspaceId)).every(({ kind }) => kind !== 'export'),
  )
  // What it may have stored is deleted by the note, in an hour.
  await asOwner('update outbox set available_at = now() where workspace_id = $1', [workspaceId])
  await control('cron', null)
  await waitFor('its objects to go', async () => (await objectsOf(workspaceId)).length === 0)
  expect((await client.get<Page<AssetBody>>('/assets')).body.data).toEqual([])
})

test('viewers look, and others find nothing', async () => {
  const { client, workspaceId } = await newTenant()
  const { body } = await client.upload('a.jpg', await scene(600, 600).jpeg().toBuffer())
  const viewer = (await addMember(workspaceId, 'viewer')).client
  expect((await viewer.post(`/assets/${body.id}/exports`, { channels: ['web'] })).status).toBe(403)
  expect((await viewer.get(`/assets/${body.id}/exports`)).status).toBe(200)
  const other = (await newTenant()).client
  expect((await other.post(`/assets/${body.id}/exports`, { channels: ['web'] })).status).toBe(404)
  expect((await other.get(`/assets/${body.id}/checks`)).status).toBe(404)
  for (const channels of [[], ['ebay'], 'web', Array(8).fill('web')]) {
    expect((await client.post(`/assets/${body.id}/exports`, { channels })).status).toBe(422)
  }
})
