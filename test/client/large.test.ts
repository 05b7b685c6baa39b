/** Uploads in parts by the client package: broken in each part, stopped, resumed elsewhere, and what they hold meanwhile. */
import { openAsBlob } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { control } from '../support/control.ts'
import { merchantOf, watchedFetch } from '../support/merchant.ts'
import { newTenant } from '../support/tenants.ts'
import { bucket, sha256 } from '../support/uploads.ts'

/** Bytes: three parts of 32 MiB and a rest. */
const SIZE = 105_000_000

/** A text on disk, read as it is sent. */
const fileOf = async () => {
  const folder = await mkdtemp(join(tmpdir(), 'content-api-large-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const bytes = Buffer.alloc(SIZE, `${crypto.randomUUID()} `)
  const path = join(folder, 'large.txt')
  await writeFile(path, bytes)
  return { file: await openAsBlob(path), hash: sha256(bytes) }
}

test('each part breaks off once, at another byte', async () => {
  const { client, workspaceId } = await newTenant()
  const { file, hash } = await fileOf()
  const match = `PUT ${new URL(await bucket()).pathname}/workspaces/${workspaceId}/`
  for (const after of [0, 5000, 20_000_000, 32 * 1024 * 1024 - 1]) {
    await control('breakStorage', { kind: 'reset', of: 'request', after, match, times: 1 })
  }
  await control('breakStorage', { kind: 'reset', of: 'answer', match, times: 2 })
  const sent: number[] = []
  const asset = await merchantOf(client).assets.upload(file, {
    name: 'large.txt',
    onProgress: (progress) => sent.push(progress.sent),
  })
  expect(asset).toMatchObject({ size: SIZE, sha256: hash, status: 'ready' })
  expect(sent.at(-1)).toBe(SIZE)
})

test('an upload that was stopped after two parts sends the others elsewhere, and no more', async () => {
  const { client } = await newTenant()
  const { file, hash } = await fileOf()
  const controller = new AbortController()
  let assetId = ''
  let arrived = 0
  const stopped = merchantOf(client).assets.upload(file, {
    name: 'large.txt',
    signal: controller.signal,
    onProgress: (progress) => {
      assetId = String(progress.assetId)
      arrived = progress.sent
      if (progress.sent > 0) controller.abort(new Error('enough'))
    },
  })
  await expect(stopped).rejects.toThrow('enough')
  let puts = 0
  const later = merchantOf(client, {
    fetch: watchedFetch(({ method }) => {
      if (method === 'PUT') puts++
    }),
  })
  const asset = await later.assets.upload(file, { resume: assetId })
  expect(asset).toMatchObject({ id: assetId, sha256: hash, status: 'ready' })
  expect(arrived).toBeGreaterThan(0)
  expect(puts).toBeLessThan(4)
})
