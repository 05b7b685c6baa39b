/**
 * `npm run rig:uploads`: what uploads cost one isolate. 1, 10 and 50 files (PARALLEL) of 50 MB (MB) at once through the Worker,
 * then one of 3 GB (GB) straight to storage, broken off and resumed. Prints the most memory of the isolate, and what comes
 * through in a second, also of plain PUTs to storage in the same run. Fails above production's limit.
 */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { makeSamplePhoto } from '../../../models/photo.ts'
import { s3Of } from '../../storage.ts'
import { startRig } from '../rig.ts'
import { ask, makeTenants } from './tenants.ts'

const SIZE = Number(process.env.MB ?? 50) * 1_000_000
const PARALLEL = (process.env.PARALLEL ?? '1,10,50').split(',').map(Number)
const LARGE = Number(process.env.GB ?? 3) * 1_000_000_000
/** Bytes of an isolate. */
const LIMIT = 128_000_000
const EVERY = 20

const photo = await makeSamplePhoto()
const fileOf = (size: number) => new Uint8Array(Buffer.concat([photo, randomBytes(size - photo.length)]))
const folder = mkdtempSync(join(tmpdir(), 'content-api-uploads-'))
const file = join(folder, 'photo.jpg')
writeFileSync(file, fileOf(SIZE))
/** Uploads that were told to come again, and did. */
let refused = 0
/** By processes of curl: this one has the database's gateway and the links to serve. */
const curl = async (...options: string[]): Promise<void> => {
  const { stdout } = await promisify(execFile)('curl', ['-sS', '-w', '%{http_code}', '-T', file, ...options])
  if (/20[01]$/.test(stdout)) return
  if (!/503$/.test(stdout)) throw new Error(stdout)
  refused++
  await sleep(10_000)
  return curl(...options)
}
const megabytes = (bytes: number | undefined) => Math.round((bytes ?? 0) / 1e5) / 10
/** Megabytes a second. */
const rateOf = (bytes: number, since: number) => megabytes((bytes * 1000) / (Date.now() - since))

const rig = await startRig({ processes: 1, inspect: true })
try {
  const [tenant] = await makeTenants(rig, 1)
  const [worker] = rig.api
  if (!tenant || !worker) throw new Error('no tenant')

  const upload = () =>
    curl(
      ...['-X', 'POST', '-H', 'content-type: image/jpeg', '-H', `authorization: Bearer ${tenant.token}`],
      `${worker.url()}/api/v1/assets/upload?name=photo.jpg`,
    )

  const { S3_ENDPOINT } = rig.stack.settings
  const s3 = s3Of(rig.stack.settings)
  const put = async () => {
    const signed = await s3.sign(`${S3_ENDPOINT}/trial`, { method: 'PUT', aws: { signQuery: true } })
    await curl(signed.url)
  }

  interface Part {
    number: number
    size: number
    arrived: boolean
    target?: { url: string }
  }
  const call = async (method: string, path: string, body?: unknown) => {
    const answer = await ask(rig.url, tenant, method, path, body === undefined ? {} : { body })
    if (answer.status >= 300) throw new Error(`${answer.status} ${answer.body}`)
    // `as`: what the API answers to a trial that nothing refuses.
    return JSON.parse(answer.body) as {
      asset: { id: string }
      upload: { parts: Part[] }
      status: string
    }
  }
  /** In parts of the same bytes, the first of which is a photo. */
  const sendLarge = async () => {
    const body = { name: 'large.jpg', mimeType: 'image/jpeg', size: LARGE }
    const { asset, upload: begun } = await call('POST', '/assets/uploads', body)
    const bytes = fileOf(begun.parts[0]?.size ?? 0)
    const send = async ({ target, size }: Part, signal?: AbortSignal) => {
      const answer = await fetch(String(target?.url), {
        method: 'PUT',
        body: bytes.subarray(0, size),
        signal: signal ?? null,
      })
      if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`)
    }
    const half = begun.parts.slice(0, Math.ceil(begun.parts.length / 2))
    for (const part of half) await send(part)
    const broken = begun.parts.at(-1)
    if (broken) await send(broken, AbortSignal.timeout(1)).catch(() => undefined)
    const { upload: resumed } = await call('GET', `/assets/${asset.id}/upload`)
    const missing = resumed.parts.filter(({ arrived }) => !arrived)
    for (const part of missing) await send(part)
    console.log(`${resumed.parts.length} parts, ${missing.length} of them sent after the break`)
    const sent = Date.now()
    await call('POST', `/assets/${asset.id}/complete`)
    while ((await call('GET', `/assets/${asset.id}`)).status !== 'ready') await sleep(200)
    console.log(`complete and read in ${((Date.now() - sent) / 1000).toFixed(1)} s`)
  }

  await upload()
  const rows: Record<string, string | number>[] = []
  const measure = async (what: string, bytes: number, plain: number, work: () => Promise<unknown>) => {
    const heap = await worker.watchHeap(EVERY)
    const started = Date.now()
    refused = 0
    await work()
    const rate = rateOf(bytes, started)
    const peak = heap.stop()
    rows.push({
      what,
      'V8 heap MB': megabytes(peak.heap),
      'buffers MB': megabytes(peak.buffers),
      'both MB': megabytes(peak.both),
      'MB/s': rate,
      'of plain PUTs': Math.round((100 * rate) / plain) / 100,
      'told to come again': refused,
    })
    console.log(JSON.stringify(rows.at(-1)))
    if (peak.both === 0 || peak.both > LIMIT) process.exitCode = 1
  }
  // One by one: the local storage holds a whole body, and breaks under many.
  const started = Date.now()
  for (let i = 0; i < 3; i++) await put()
  const plain = rateOf(3 * SIZE, started)
  console.log(`plain PUTs: ${plain} MB/s`)
  for (const count of PARALLEL) {
    await measure(`${count} at once`, count * SIZE, plain, () =>
      Promise.all(Array.from({ length: count }, upload)),
    )
  }
  if (LARGE > 0) await measure('direct', LARGE, plain, sendLarge)
  console.table(rows)
} finally {
  await rig.stop()
  rmSync(folder, { recursive: true })
}
process.exit()
