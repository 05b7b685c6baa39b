/**
 * `npm run rig:memory`: what results that come with the answer cost an isolate. Ten jobs at once, each with four pictures of
 * 4 MB in base64, all answered at the same moment; AT_ONCE (wrangler.toml's, 8) is how many calls the queue lets last,
 * over PROCESSES (2), each an isolate; JOBS changes the ten. Prints the most memory of each isolate, and fails above production's limit.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import sharp from 'sharp'
import { builtIn } from '../../../src/catalogue/offers.ts'
import { startRig } from '../rig.ts'
import { ask, asOwner, makeTenants } from './tenants.ts'

const JOBS = Number(process.env.JOBS ?? 10)
const AT_ONCE = Number(process.env.AT_ONCE ?? 8)
const PROCESSES = Number(process.env.PROCESSES ?? 2)
const PICTURES = 4
/** Noise, which no compression makes smaller: 1155 × 1155 × 3 bytes are 4 MB. */
const SIDE = 1155
/** Bytes of an isolate. */
const LIMIT = 128_000_000
const EVERY = 20

const picture = await sharp(randomBytes(SIDE * SIDE * 3), { raw: { width: SIDE, height: SIDE, channels: 3 } })
  .png({ compressionLevel: 1 })
  .toBuffer()
const answer = Buffer.from(
  JSON.stringify({
    data: Array.from({ length: PICTURES }, () => ({ b64_json: picture.toString('base64') })),
  }),
)
/** OpenAI's, which answers when as many wait as the queue lets, or nobody has come for a while. */
let waiting: ServerResponse[] = []
let most = 0
let timer: NodeJS.Timeout | undefined
const openai = createServer((request, response) => {
  request.resume()
  waiting.push(response)
  most = Math.max(most, waiting.length)
  clearTimeout(timer)
  timer = setTimeout(() => {
    for (const one of waiting) one.writeHead(200, { 'content-type': 'application/json' }).end(answer)
    waiting = []
  }, 3000)
}).listen(0, '127.0.0.1')
await once(openai, 'listening')
const [model] = builtIn
if (!model) throw new Error('no model')
const offers = model.offers.filter(({ provider }) => provider === 'openai')

const rig = await startRig({
  processes: PROCESSES,
  inspect: true,
  consumers: { lasting: { max_concurrency: AT_ONCE } },
  settings: {
    OPENAI_BASE_URL: `http://127.0.0.1:${(openai.address() as AddressInfo).port}`,
    MODEL_CATALOGUE: JSON.stringify([{ ...model, offers }]),
  },
})
try {
  const [tenant] = await makeTenants(rig, 1)
  if (!tenant) throw new Error('no tenant')
  const generate = (count: number) =>
    ask(rig.url, tenant, 'POST', '/generations', { body: { task: 'scene', prompt: 'Memory', count } })
  const ended = async () => {
    while ((await asOwner(rig, 'select from generations where completed_at is null')).length > 0)
      await sleep(200)
  }
  // What an isolate has loaded before anything happens is no result's.
  await Promise.all([generate(1), generate(1)])
  await ended()
  const idle = rig.usage()
  const heaps = await Promise.all(rig.api.map((worker) => worker.watchHeap(EVERY)))
  const resident: Record<string, number> = {}
  const watching = setInterval(() => {
    for (const [name, { rssBytes }] of Object.entries(rig.usage()))
      resident[name] = Math.max(resident[name] ?? 0, rssBytes)
  }, EVERY)
  most = 0
  const started = Date.now()
  await Promise.all(Array.from({ length: JOBS }, () => generate(PICTURES)))
  await ended()
  clearInterval(watching)
  const seconds = ((Date.now() - started) / 1000).toFixed(1)
  const megabytes = (bytes: number | undefined) => Math.round((bytes ?? 0) / 1e5) / 10
  const peaks = heaps.map((heap) => heap.stop())
  console.log(
    `${JOBS} jobs of ${PICTURES} pictures of ${megabytes(picture.length)} MB, ${most} calls at once, in ${seconds} s`,
  )
  console.table(
    Object.fromEntries(
      rig.api.map(({ name }, i) => [
        name,
        {
          'V8 heap MB': megabytes(peaks[i]?.heap),
          'buffers MB': megabytes(peaks[i]?.buffers),
          'both MB': megabytes(peaks[i]?.both),
          'RSS before MB': megabytes(idle[name]?.rssBytes),
          'RSS MB': megabytes(resident[name]),
        },
      ]),
    ),
  )
  console.table(
    await asOwner(
      rig,
      'select status, count(*)::int as jobs, sum(attempts)::int as attempts from generations group by 1',
    ),
  )
  const [bad] = await asOwner<{ n: number }>(
    rig,
    `select count(*)::int n from generations where status <> 'succeeded'`,
  )
  if (bad?.n !== 0 || peaks.some(({ both }) => both === 0 || both > LIMIT)) process.exitCode = 1
} finally {
  await rig.stop()
}
process.exit()
