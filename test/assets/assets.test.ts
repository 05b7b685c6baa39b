/** Assets: their quota, how they are listed and renamed, and what is left after they are deleted. */
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import sharp from 'sharp'
import { expect, test } from 'vitest'
import { download, objectsOf, owed, storedIn } from '../support/assets.ts'
import { tally, times } from '../support/at-once.ts'
import { type AssetBody, listAll, type Page } from '../support/client.ts'
import { control, stack } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { finished, generate } from '../support/generations.ts'
import { NOBODY, newTenant } from '../support/tenants.ts'
import { uploadDirectly } from '../support/uploads.ts'
import { waitFor } from '../support/wait-for.ts'

const MB = 1024 * 1024
const png = await sharp({ create: { width: 32, height: 20, channels: 3, background: '#369' } })
  .png()
  .toBuffer()

test('answers 402 above the quota, which holds for uploads at the same time', async () => {
  const { client, workspaceId } = await newTenant()
  const fill = `insert into assets (workspace_id, id, name, kind, mime_type, size, sha256, source, status)
    values ($1, gen_random_uuid(), 'filler', 'document', 'text/plain', $2, 'x', 'upload', 'ready')`
  await asOwner(fill, [workspaceId, 1024 * MB - 150_000])
  const answers = await times(3, (i) => client.upload('a.txt', String(i).repeat(100_000)))
  expect(tally(answers)).toEqual({ 201: 1, 402: 2 })
  expect(await objectsOf(workspaceId)).toHaveLength(1)
  expect((await client.upload('a.txt', 'a'.repeat(100_000))).body.code).toBe('storage_quota_exceeded')
  // A form is larger than its file, which counts.
  expect((await client.upload('b.txt', 'b'.repeat(50_001))).body.code).toBe('storage_quota_exceeded')
  expect((await client.upload('b.txt', 'b'.repeat(50_000))).status).toBe(201)
})

test('whoever has read a list up to now finds above it what comes later, however long it has taken', async () => {
  const { client } = await newTenant()
  const { body: photo } = await client.upload('photo.png', png)
  const slow = httpRequest(`${stack.api}/api/v1/assets/upload?name=slow.txt`, {
    method: 'POST',
    headers: { authorization: `Bearer ${client.token}`, 'content-type': 'text/plain' },
  })
  slow.write('some text')
  const job = await generate(client, { inputAssetIds: [photo.id] })
  const made = client.post<{ data: { id: string }[] }>(`/assets/${photo.id}/exports`, { channels: ['web'] })
  const { body: early } = await client.upload('early.txt', 'early')
  await finished(client, job.id)
  await made
  await waitFor(
    'the export',
    async () => (await listAll<AssetBody>(client, '/assets?source=export')).length === 1,
  )
  slow.end(' and more')
  const [answer] = await once(slow, 'response')
  expect(answer.statusCode).toBe(201)
  const since = async (time: string) =>
    (await listAll<AssetBody>(client, `/assets?since=${time}`)).map(({ source, name }) => [source, name])
  const all = await listAll<AssetBody>(client, '/assets')
  expect(all.map(({ createdAt }) => createdAt)).toEqual(
    all
      .map(({ createdAt }) => createdAt)
      .sort()
      .reverse(),
  )
  for (const { createdAt, name, source } of all) expect(await since(createdAt)).toContainEqual([source, name])
  expect(all.findIndex(({ name }) => name === 'slow.txt')).toBeLessThan(
    all.findIndex(({ id }) => id === early.id),
  )
})

test('a deleted asset is gone at once, its object and presigned URLs soon', async () => {
  const { client, workspaceId } = await newTenant()
  const { body } = await client.upload('a.txt', 'text')
  const url = await download(client, body.id)
  expect((await fetch(url)).status).toBe(200)
  expect((await client.delete(`/assets/${body.id}`)).status).toBe(204)
  expect((await client.get(`/assets/${body.id}/download`)).status).toBe(404)
  expect((await client.delete(`/assets/${body.id}`)).status).toBe(404)
  await waitFor('the object to go', async () => (await fetch(url)).status === 404)
  await waitFor('nothing is owed', async () => (await owed(workspaceId)).length === 0)
})

test('lists by filter, page by page, in an order that new files do not disturb', async () => {
  const { client } = await newTenant()
  const uploads = await times(4, (i) => client.upload(`100%_${i}.txt`, `text ${i}`))
  const picture = (await client.upload('100 1.png', png)).body.id
  const page = async (query: string) => {
    const { body } = await client.get<Page<AssetBody>>(`/assets?${query}`)
    return { ids: body.data.map(({ id }) => id), next: body.nextCursor }
  }
  const ids = uploads.map(({ body }) => body.id)
  const newest = [picture, ...ids.sort().reverse()]
  const first = await page('limit=2')
  const late = (await client.upload('late.txt', 'late')).body.id
  const second = await page(`limit=2&cursor=${first.next}`)
  expect([...first.ids, ...second.ids]).toEqual(newest.slice(0, 4))
  expect(await page(`limit=2&cursor=${second.next}`)).toEqual({ ids: newest.slice(4), next: null })
  expect((await page('kind=image')).ids).toEqual([picture])
  expect((await page('q=100%25_')).ids).toEqual(newest.slice(1))
  expect((await page('q=LATE&kind=document&source=upload&status=ready')).ids).toEqual([late])
  for (const none of ['kind=video', 'source=generation', 'status=pending', 'q=%25%25'])
    expect((await page(none)).ids, none).toEqual([])
})

test('tags, times and sources filter, by themselves and together, and are searched in', async () => {
  const { client, workspaceId } = await newTenant()
  const upload = async (name: string, bytes: Uint8Array | string) =>
    (await client.upload(name, bytes)).body.id
  const blue = await upload('blue.txt', 'blue')
  const since = new Date().toISOString()
  const [green, picture] = [await upload('green.txt', 'green'), await upload('blue.png', png)]
  const tags = ['summer', '\u590f 2026', "it's"]
  for (const id of [blue, picture]) {
    const { body } = await client.patch(`/assets/${id}`, { tags })
    expect(body.tags).toEqual(tags)
  }
  const [export_] = await asOwner<{ id: string }>(
    `insert into assets (workspace_id, id, name, kind, mime_type, size, sha256, source, status, tags)
     values ($1, app.uuid_v7(), 'blue.jpg', 'image', 'image/jpeg', 1, 'y', 'export', 'ready', '{summer}') returning id`,
    [workspaceId],
  )
  const page = async (query: object) => {
    const { status, body } = await client.get<Page<AssetBody>>(`/assets?${new URLSearchParams({ ...query })}`)
    expect(status, JSON.stringify(body)).toBe(200)
    return body.data.map(({ id }) => id)
  }
  expect(await page({ tag: 'summer' })).toEqual([export_?.id, picture, blue])
  expect(await page({ tag: "it's" })).toEqual([picture, blue])
  expect(await page({ tag: '\u590f 2026', kind: 'image' })).toEqual([picture])
  expect(await page({ tag: 'summer', q: 'blue', source: 'upload' })).toEqual([picture, blue])
  expect(await page({ tag: 'sum' })).toEqual([])
  expect(await page({ source: 'export' })).toEqual([export_?.id])
  expect(await page({ since })).toEqual([export_?.id, picture, green])
  expect(await page({ until: since })).toEqual([blue])
  expect(await page({ since, q: 'blue' })).toEqual([export_?.id, picture])
  expect(await page({ since, tag: 'summer', source: 'upload' })).toEqual([picture])
  expect(await page({ until: '2020-01-01T00:00:00Z' })).toEqual([])
  expect((await client.patch(`/assets/${blue}`, { tags: ['winter'] })).body.name).toBe('blue.txt')
  expect(await page({ tag: 'summer' })).toEqual([export_?.id, picture])
  expect((await client.delete(`/assets/${picture}`)).status).toBe(204)
  expect(await page({ tag: 'summer' })).toEqual([export_?.id])
  for (const wrong of [
    ['a', 'a'],
    [''],
    ['x'.repeat(51)],
    Array.from('abcdefghijklmnopqrstu'),
    ['a\nb'],
    'a',
  ])
    expect((await client.patch(`/assets/${blue}`, { tags: wrong })).status).toBe(422)
  expect((await client.patch(`/assets/${blue}`, {})).status).toBe(422)
})

test('the same bytes are stored once, and go with the last asset that has them', async () => {
  const { client, workspaceId } = await newTenant()
  const [sent, ...rest] = await times(4, (i) => client.upload(`${i}.png`, png))
  const direct = await uploadDirectly(client, png, { mimeType: 'image/png' })
  const all = [sent, ...rest].map((answer) => String(answer?.body.id)).concat(direct.id)
  // Where a URL may still send the file, an empty object is left.
  await waitFor('the bytes of one', async () => {
    await asOwner(
      `update outbox set available_at = now() where workspace_id = $1 and kind = 'object.delete'`,
      [workspaceId],
    )
    await control('cron')
    return (await storedIn(workspaceId)) === png.length
  })
  const bytesOf = async (id: string) => {
    const file = await fetch(await download(client, id))
    return Buffer.from(await file.arrayBuffer())
  }
  for (const id of all) expect(await bytesOf(id)).toEqual(png)
  // Of a neighbour nothing is shared.
  const neighbour = await newTenant()
  await neighbour.client.upload('a.png', png)
  expect(await objectsOf(neighbour.workspaceId)).toHaveLength(1)
  const [last, ...first] = all.sort()
  await Promise.all(first.map((id) => client.delete(`/assets/${id}`)))
  await waitFor('all is done', async () =>
    (await owed(workspaceId)).every(({ kind }) => kind === 'upload.end'),
  )
  expect(await bytesOf(String(last))).toEqual(png)
  expect((await client.delete(`/assets/${last}`)).status).toBe(204)
  await waitFor('the bytes to go', async () => (await storedIn(workspaceId)) === 0)
  expect(await objectsOf(neighbour.workspaceId)).toHaveLength(1)
})

test('the last of the same bytes deleted while they are uploaded again: there is an object if there is an asset', async () => {
  const { client, workspaceId } = await newTenant()
  for (let round = 0; round < 5; round++) {
    const { id } = (await client.upload('a.png', png)).body
    const [again] = await Promise.all([
      client.upload('b.png', png),
      client.delete(`/assets/${id}`),
      uploadDirectly(client, png, { mimeType: 'image/png' }),
    ])
    await asOwner(
      `update outbox set available_at = now() where workspace_id = $1 and kind = 'object.delete'`,
      [workspaceId],
    )
    await control('cron')
    await waitFor('all is done', async () =>
      (await owed(workspaceId)).every(({ kind }) => kind === 'upload.end'),
    )
    const file = await fetch(await download(client, again.body.id))
    expect(Buffer.from(await file.arrayBuffer())).toEqual(png)
    for (const { id: left } of await listAll<AssetBody>(client, '/assets?limit=10'))
      await client.delete(`/assets/${left}`)
    await waitFor('nothing is left', async () => (await storedIn(workspaceId)) === 0)
  }
})

/** At least five minutes, as the URL is signed. */
const expectLife = (url: unknown, expiresAt: unknown) => {
  const end = new Date(String(expiresAt)).getTime()
  expect(end - Date.now()).toBeGreaterThan(290_000)
  expect(end - Date.now()).toBeLessThanOrEqual(900_000)
  const signed = new URL(String(url)).searchParams
  const from = String(signed.get('X-Amz-Date')).replace(/^(....)(..)(..T..)(..)(..Z)$/, '$1-$2-$3:$4:$5')
  expect(new Date(from).getTime() + Number(signed.get('X-Amz-Expires')) * 1000).toBe(end)
}

test('many URLs at once: in order, the same for ten minutes, and a problem for each that has none', async () => {
  const { client } = await newTenant()
  const [one, two] = await times(2, (i) => client.upload(`${i}.txt`, `text ${i}`))
  const ids = [two?.body.id, NOBODY, one?.body.id, two?.body.id]
  const links = async () =>
    (await client.post<{ data: Record<string, string>[] }>('/assets/downloads', { ids })).body.data
  const data = await links()
  expect(data.map(({ id }) => id)).toEqual(ids)
  expect(data[1]).toEqual({ id: NOBODY, problem: { code: 'not_found', detail: expect.any(String) } })
  for (const { url, expiresAt } of [data[0], data[2]].map((link) => link ?? {})) {
    expect((await fetch(String(url))).status).toBe(200)
    expectLife(url, expiresAt)
  }
  // Unless ten minutes are over just now.
  expect([data, await links()]).toContainEqual(await links())
  const { client: stranger } = await newTenant()
  const others = await stranger.post<{ data: { problem: { code: string } }[] }>('/assets/downloads', { ids })
  expect(others.body.data.map(({ problem }) => problem.code)).toEqual(ids.map(() => 'not_found'))
  for (const wrong of [[], ['x'], Array.from({ length: 101 }, () => NOBODY)])
    expect((await client.post('/assets/downloads', { ids: wrong })).status).toBe(422)
})

test('a download is a redirect, or JSON to who prefers that to anything, of a sized copy as well', async () => {
  const { client } = await newTenant()
  const { body: asset } = await client.upload('a.png', png)
  const origin = 'http://localhost:3000'
  for (const [query, type, name] of [
    ['?disposition=inline', 'image/png', 'inline; filename="a.png"'],
    ['?width=64&format=jpeg', 'image/jpeg', 'attachment; filename="a-64.jpg"'],
  ]) {
    const path = `/assets/${asset.id}/download${query}`
    const ask = (accept: string) => client.get<{ url: string; expiresAt: string }>(path, { accept, origin })
    for (const accept of [
      'application/json',
      'Application/JSON; charset=utf-8',
      'text/plain, application/json, */*;q=0.1',
    ]) {
      const { status, headers, body } = await ask(accept)
      expect(status, accept).toBe(200)
      expect(headers.has('location')).toBe(false)
      expect(headers.get('vary')?.toLowerCase().split(/, */).toSorted()).toEqual(['accept', 'origin'])
      expect(headers.get('cache-control')).toBe('no-store')
      expectLife(body.url, body.expiresAt)
      const file = await fetch(body.url)
      expect([file.status, file.headers.get('content-type')]).toEqual([200, type])
      expect(new URL(body.url).searchParams.get('response-content-disposition')).toContain(name)
    }
    for (const accept of [
      '*/*',
      'image/webp,image/*;q=0.8',
      'application/*',
      'application/json, text/plain, */*',
      'text/html, application/json;q=0',
    ]) {
      const { status, headers } = await ask(accept)
      expect(status, accept).toBe(302)
      expect(headers.get('vary')?.toLowerCase()).toContain('accept')
      expect(headers.get('cache-control')).toBe('no-store')
    }
    const first = (await ask('application/json')).body
    // Unless ten minutes are over just now.
    expect([first, (await ask('application/json')).body]).toContainEqual((await ask('application/json')).body)
    const headers = { authorization: `Bearer ${client.token}`, accept: 'application/json' }
    const head = await fetch(`${stack.api}/api/v1${path}`, { method: 'HEAD', headers, redirect: 'manual' })
    expect(head.status).toBe(302)
  }
  const stranger = (await newTenant()).client
  expect(await stranger.get(`/assets/${asset.id}/download`, { accept: 'application/json' })).toMatchObject({
    status: 404,
    body: { code: 'not_found' },
  })
})

test('a search finds what is rare among many, and goes on page by page where no index helps', async () => {
  const { client, workspaceId } = await newTenant()
  const { body: oldest } = await client.upload('needle.txt', 'text')
  await asOwner(
    `insert into assets (workspace_id, id, name, kind, mime_type, size, sha256, source, status)
     select $1, app.uuid_v7(), 'hay', 'image', 'image/png', 1, gen_random_uuid(), 'generation', 'ready' from generate_series(1, 3000)`,
    [workspaceId],
  )
  const { body: newest } = await client.upload('needle.txt', 'text')
  for (const q of ['needle', 'NEEDLE.txt', 'needle&source=upload', 'needle&kind=document&status=ready']) {
    const { body } = await client.get<Page<AssetBody>>(`/assets?q=${q}`)
    expect(body, q).toEqual({ data: [newest, oldest], nextCursor: null })
  }
  const { body: paged } = await client.get<Page<AssetBody>>('/assets?q=needle&limit=1')
  expect(paged).toEqual({ data: [newest], nextCursor: expect.any(String) })
  expect(await listAll<AssetBody>(client, '/assets?q=needle&limit=1')).toEqual([newest, oldest])
  // Too short for the index: as many names are looked at as a page may.
  const { body: short } = await client.get<Page<AssetBody>>('/assets?q=le.')
  expect(short).toEqual({ data: [newest], nextCursor: expect.any(String) })
  expect(await listAll<AssetBody>(client, '/assets?q=le.')).toEqual([newest, oldest])
  const filtered = await client.get<Page<AssetBody>>('/assets?q=le.&source=upload')
  expect(filtered.body).toEqual({ data: [newest, oldest], nextCursor: null })
})

test('renames an asset, and answers 422 to names that are empty, too long or not text', async () => {
  const { client } = await newTenant()
  const { id } = (await client.upload('a.txt', 'text')).body
  const renamed = await client.patch(`/assets/${id}`, { name: ' ../\u00fcb".txt ' })
  expect(renamed.body.name).toBe('\u00fcb".txt')
  expect(decodeURIComponent(decodeURIComponent(await download(client, id)))).toContain('\u00fcb".txt')
  for (const name of ['', ' ', 'x'.repeat(256), 'a\0', '\ud800', 1, null])
    expect((await client.patch(`/assets/${id}`, { name })).status).toBe(422)
})
