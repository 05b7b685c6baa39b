/** Uploads by the client package, on connections that break at any byte. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { ApiError, MerchantClient, type UploadProgress } from '../../client/src/index.ts'
import { objectsOf } from '../support/assets.ts'
import { control, stack } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { breakable, merchantOf, watchedFetch } from '../support/merchant.ts'
import { newTenant, type Tenant } from '../support/tenants.ts'
import { bucket, sha256 } from '../support/uploads.ts'

/** Bytes: more than goes through the API by itself. */
const LARGE = 9_000_000
const NAME = 'notes.txt'

/** Text, no two of the same. */
const textOf = (size: number) => Buffer.alloc(size, `${crypto.randomUUID()} `)

/** What a PUT of this workspace's says first. */
const putOf = async ({ workspaceId }: Tenant) =>
  `PUT ${new URL(await bucket()).pathname}/workspaces/${workspaceId}/`

const assetsOf = ({ workspaceId }: Tenant) =>
  asOwner<{ status: string }>('select status from assets where workspace_id = $1', [workspaceId])

test('a small file is one request, a large one goes to storage, each with its SHA-256 and progress', async () => {
  const tenant = await newTenant()
  const asked: string[] = []
  const merchant = merchantOf(tenant.client, {
    fetch: watchedFetch(
      ({ method, url }) => void asked.push(`${method} ${url.pathname.replace(/[\w-]{36}/g, ':id')}`),
    ),
  })
  for (const [size, paths] of [
    [1000, ['POST /api/v1/assets/upload']],
    [
      LARGE,
      ['POST /api/v1/assets/uploads', expect.stringContaining('PUT '), 'POST /api/v1/assets/:id/complete'],
    ],
  ] as const) {
    asked.length = 0
    const bytes = textOf(size)
    const heard: UploadProgress[] = []
    const asset = await merchant.assets.upload(new File([bytes], NAME), {
      onProgress: (now) => heard.push(now),
    })
    expect(asset).toMatchObject({
      name: NAME,
      mimeType: 'text/plain',
      size,
      sha256: sha256(bytes),
      status: 'ready',
    })
    expect(asked).toEqual(paths)
    expect([heard[0]?.sent, heard.at(-1)?.sent, heard.at(-1)?.total]).toEqual([0, size, size])
  }
})

test('a small file whose request, or answer, breaks off at any byte region is there once', async () => {
  const bytes = textOf(200_000)
  for (const fault of [
    ...[0, 200, 100_000, 199_999].map((after) => ({ kind: 'reset', of: 'request', after }) as const),
    ...[0, 30, 500].map((after) => ({ kind: 'reset', of: 'answer', after }) as const),
  ]) {
    const tenant = await newTenant()
    const link = await breakable()
    const broken = link.fault({ ...fault, match: 'POST /api/v1/assets/upload', times: 1 })
    const merchant = merchantOf(tenant.client, { baseUrl: link.origin })
    const asset = await merchant.assets.upload(new Blob([bytes]), { name: NAME })
    const where = `${fault.of} after ${fault.after}`
    expect(broken.hits, where).toBe(1)
    expect(asset.sha256, where).toBe(sha256(bytes))
    expect(await assetsOf(tenant), where).toHaveLength(1)
  }
})

test('a large file whose way to storage breaks off at any byte region arrives', async () => {
  const bytes = textOf(LARGE)
  for (const fault of [
    ...[0, 1000, LARGE / 2, LARGE - 1].map((after) => ({ kind: 'reset', of: 'request', after }) as const),
    ...[0, 20].map((after) => ({ kind: 'reset', of: 'answer', after }) as const),
  ]) {
    const tenant = await newTenant()
    await control('breakStorage', { ...fault, match: await putOf(tenant), times: 2 })
    const asset = await merchantOf(tenant.client).assets.upload(new File([bytes], NAME))
    expect(asset, `${fault.of} after ${fault.after}`).toMatchObject({
      status: 'ready',
      sha256: sha256(bytes),
    })
    expect(await assetsOf(tenant)).toHaveLength(1)
  }
})

test('every step of a large upload may lose its answer', async () => {
  const bytes = textOf(LARGE)
  for (const step of ['POST /api/v1/assets/uploads', '/complete']) {
    const tenant = await newTenant()
    const link = await breakable()
    link.fault({ kind: 'reset', of: 'answer', match: step, times: 1 })
    const asset = await merchantOf(tenant.client, { baseUrl: link.origin }).assets.upload(
      new File([bytes], NAME),
    )
    expect(asset, step).toMatchObject({ status: 'ready' })
    expect((await assetsOf(tenant)).filter(({ status }) => status === 'ready')).toHaveLength(1)
  }
})

test('an upload that was stopped goes on elsewhere, with its own file only', async () => {
  const tenant = await newTenant()
  const file = new File([textOf(LARGE)], NAME)
  const controller = new AbortController()
  let assetId = ''
  const stopped = merchantOf(tenant.client).assets.upload(file, {
    signal: controller.signal,
    onProgress: (progress) => {
      assetId = String(progress.assetId)
      controller.abort(new Error('closed the laptop'))
    },
  })
  await expect(stopped).rejects.toThrow('closed the laptop')
  const later = merchantOf(tenant.client)
  await expect(later.assets.upload(new Blob(['other']), { resume: assetId })).rejects.toThrow(TypeError)
  expect(await later.assets.upload(file, { resume: assetId })).toMatchObject({ id: assetId, status: 'ready' })
  // And once more is once.
  expect(await later.assets.upload(file, { resume: assetId })).toMatchObject({ id: assetId })
  expect(await objectsOf(tenant.workspaceId)).toHaveLength(1)
})

test('what is not what it says is refused, and what may be anything is asked about', async () => {
  const { client } = await newTenant()
  const { assets } = merchantOf(client)
  const lie = assets.upload(new File([textOf(LARGE)], NAME), { mimeType: 'image/png' })
  await expect(lie).rejects.toMatchObject({ code: 'upload_mismatch' })
  const unknown = new Blob([new Uint8Array(96_000_000)])
  await expect(assets.upload(unknown)).rejects.toThrow(/mimeType/)
  const garbage = assets.upload(new Blob([new Uint8Array(LARGE)]), { name: 'x.bin' })
  await expect(garbage).rejects.toMatchObject({ code: 'unsupported_media_type' })
  await expect(assets.upload(new Blob([]), { name: 'empty.txt' })).rejects.toThrow(ApiError)
})

test('an abort at any step of an upload ends it at once, with nothing left behind', async () => {
  const tenant = await newTenant()
  const file = new File([textOf(LARGE)], NAME)
  const run = async (abortAt: number, when: 'asked' | 'answered' | 'later') => {
    const controller = new AbortController()
    const reason = new Error(`${when} ${abortAt}`)
    let [asked, pending] = [0, 0]
    const count: typeof fetch = async (input, init) => {
      const number = ++asked
      pending++
      if (number === abortAt && when === 'asked') controller.abort(reason)
      if (number === abortAt && when === 'later') setTimeout(() => controller.abort(reason), 3)
      try {
        const response = await fetch(input, init)
        if (number === abortAt && when === 'answered') controller.abort(reason)
        return response
      } finally {
        pending--
      }
    }
    const { signal } = controller
    const outcome = await merchantOf(tenant.client, { fetch: count })
      .assets.upload(file, { signal })
      .catch((error: unknown) => error)
    const after = asked
    await sleep(50)
    expect([asked, pending]).toEqual([after, 0])
    return { outcome, reason, asked }
  }
  const whole = await run(99, 'asked')
  expect(whole.outcome).toMatchObject({ status: 'ready' })
  for (let step = 1; step <= whole.asked; step++) {
    for (const when of ['asked', 'answered', 'later'] as const) {
      const { outcome, reason } = await run(step, when)
      expect(outcome, `${when} ${step}`).toBe(reason)
    }
  }
})

test('an older API without direct uploads is sent a large file itself', async () => {
  const { client } = await newTenant()
  const unknown = () => Response.json({ code: 'not_found', detail: 'No such route.' }, { status: 404 })
  const older = merchantOf(client, {
    fetch: watchedFetch(({ url }) => (url.pathname.endsWith('/uploads') ? unknown() : undefined)),
  })
  const bytes = textOf(LARGE)
  expect(await older.assets.upload(new File([bytes], NAME))).toMatchObject({ sha256: sha256(bytes) })
})

test('storage that is away for long is told', async () => {
  const tenant = await newTenant()
  await control('breakStorage', { kind: 'reset', of: 'request', match: await putOf(tenant) })
  const merchant = new MerchantClient({ baseUrl: stack.api, token: String(tenant.token), retries: 1 })
  const away = merchant.assets.upload(new File([textOf(LARGE)], NAME))
  await expect(away).rejects.toMatchObject({ name: 'ConnectionError' })
  expect(await assetsOf(tenant)).toMatchObject([{ status: 'pending' }])
})
