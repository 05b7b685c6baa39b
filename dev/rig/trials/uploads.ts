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
import type { UploadProgress } from '../../../client/src/index.ts'
import { makeSamplePhoto } from '../../../models/photo.ts'
import { s3Of } from '../../storage.ts'
import { startRig } from '../rig.ts'
import { makeTenants, merchantOf } from './tenants.ts'

const SIZE = Number(process.env.MB ?? 50) * 1_000_000
const PARALLEL = (process.env.PARALLEL ?? '1,10,50').split(',').map(Number)
const LARGE = Number(process.env.GB ?? 3) * 1_000_000_000
/** Bytes of a part of the large file's. */
const PART = 32 * 1024 * 1024
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

  /** In parts of the same bytes, the first of which is a photo; stopped halfway, and resumed. */
  const sendLarge = async () => {
    const { assets } = merchantOf(rig, tenant)
    const same = new Blob([fileOf(PART)])
    const whole = new Blob(Array(Math.ceil(LARGE / PART)).fill(same)).slice(0, LARGE)
    const stop = new AbortController()
    let known: UploadProgress | undefined
    const onProgress = (progress: UploadProgress) => {
      known = progress
      if (progress.sent >= LARGE / 2) stop.abort()
    }
    const options = { name: 'large.jpg', mimeType: 'image/jpeg', hash: false, onProgress }
    await assets.upload(whole, { ...options, signal: stop.signal }).catch(() => undefined)
    const resumed = Date.now()
    await assets.upload(whole, { ...options, resume: known?.assetId })
    console.log(
      `stopped halfway; sent, complete and read ${((Date.now() - resumed) / 1000).toFixed(1)} s later`,
    )
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
