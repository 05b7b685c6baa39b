/**
 * `npm run rig:uploads`: what uploads through the Worker cost one isolate. 1, 10 and 50 files (PARALLEL) of 50 MB (MB) at
 * once. Prints the most memory of the isolate, and what comes through in a second, also of plain PUTs to storage in the same
 * run. Fails above production's limit.
 */
import { randomBytes } from 'node:crypto'
import { AwsClient } from 'aws4fetch'
import { makeSamplePhoto } from '../../../models/photo.ts'
import { startRig } from '../rig.ts'
import { makeTenants } from './tenants.ts'

const SIZE = Number(process.env.MB ?? 50) * 1_000_000
const PARALLEL = (process.env.PARALLEL ?? '1,10,50').split(',').map(Number)
/** Bytes of an isolate. */
const LIMIT = 128_000_000
const EVERY = 20

const photo = await makeSamplePhoto()
const file = new Uint8Array(Buffer.concat([photo, randomBytes(SIZE - photo.length)]))
const rig = await startRig({ processes: 1, inspect: true })
try {
  const [tenant] = await makeTenants(rig, 1)
  const [worker] = rig.api
  if (!tenant || !worker) throw new Error('no tenant')
  const upload = async (body: Uint8Array<ArrayBuffer>) => {
    const answer = await fetch(`${rig.url}/api/v1/assets/upload?name=photo.jpg`, {
      method: 'POST',
      headers: { authorization: `Bearer ${tenant.token}`, 'content-type': 'image/jpeg' },
      body,
    })
    if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`)
  }
  const { S3_ENDPOINT, S3_ACCESS_KEY_ID = '', S3_SECRET_ACCESS_KEY = '' } = rig.stack.settings
  const s3 = new AwsClient({
    accessKeyId: S3_ACCESS_KEY_ID,
    secretAccessKey: S3_SECRET_ACCESS_KEY,
    service: 's3',
    region: 'auto',
  })
  const put = async (body: Uint8Array<ArrayBuffer>, i: number) => {
    const { url } = await s3.sign(`${S3_ENDPOINT}/trials/${i}`, { method: 'PUT', aws: { signQuery: true } })
    const answer = await fetch(url, { method: 'PUT', body })
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`)
  }
  const megabytes = (bytes: number | undefined) => Math.round((bytes ?? 0) / 1e5) / 10
  /** Megabytes a second. */
  const time = async (count: number, one: (body: Uint8Array<ArrayBuffer>, i: number) => Promise<void>) => {
    const started = Date.now()
    await Promise.all(Array.from({ length: count }, (_, i) => one(file, i)))
    return megabytes((count * SIZE * 1000) / (Date.now() - started))
  }
  await upload(file.slice(0, photo.length))
  const rows = []
  for (const count of PARALLEL) {
    // The local storage holds a whole body, and breaks under many.
    const plain = await time(Math.min(count, 10), put)
    const heap = await worker.watchHeap(EVERY)
    let rss = 0
    const watching = setInterval(() => {
      rss = Math.max(rss, rig.usage()[worker.name]?.rssBytes ?? 0)
    }, EVERY)
    const through = await time(count, upload)
    clearInterval(watching)
    const peak = heap.stop()
    rows.push({
      'at once': count,
      'V8 heap MB': megabytes(peak.heap),
      'buffers MB': megabytes(peak.buffers),
      'both MB': megabytes(peak.both),
      'RSS MB': megabytes(rss),
      'MB/s': through,
      'of plain PUTs': Math.round((100 * through) / plain) / 100,
    })
    if (peak.both === 0 || peak.both > LIMIT) process.exitCode = 1
  }
  console.table(rows)
} finally {
  await rig.stop()
}
process.exit()
