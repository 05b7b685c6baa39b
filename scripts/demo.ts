/** `npm run demo [photo]`: the main job against the running stack, as a client of its API. */
import { mkdirSync, openAsBlob, writeFileSync } from 'node:fs'
import { basename, join, relative, resolve } from 'node:path'
import {
  ConnectionError,
  type Generation,
  type GenerationInput,
  MerchantClient,
  type Progress,
} from '../client/src/index.ts'
import { PROJECT } from '../dev/stack.ts'
import { makeSamplePhoto } from '../models/photo.ts'
import { styles } from '../src/words.ts'
import { signUpByMail } from './inbox.ts'
import { oneLine } from './migrate.ts'

/** Milliseconds for all pictures. */
const DEADLINE = 120_000
const baseUrl = process.env.API_URL ?? `http://127.0.0.1:${process.env.PORT ?? 8787}`
/** Where `npm run dev` shows the mails that it caught. */
const inbox =
  process.env.MAIL_URL ??
  `http://127.0.0.1:${process.env.MAIL_PORT ?? Number(process.env.PORT ?? 8787) + 2000}`
const out = join(PROJECT, 'out')

const seconds = (since: number) => `${((Date.now() - since) / 1000).toFixed(1)} s`
const step = (what: string, since: number) => console.log(`  ${what.padEnd(58)} ${seconds(since)}`)
const bar = ({ status, progress }: Progress) =>
  status === 'succeeded'
    ? 'done'
    : status === 'running'
      ? `${'#'.repeat(Math.ceil(progress / 20))}${progress}%`
      : status
const nameOf = ({ style, task }: GenerationInput) => style ?? task

const main = async (): Promise<void> => {
  const started = Date.now()
  const [photoPath] = process.argv.slice(2)
  const photo = photoPath ? await openAsBlob(resolve(photoPath)) : await makeSamplePhoto()
  console.log(`The main job, as a client of ${baseUrl}\n`)

  let since = Date.now()
  const email = `demo-${Date.now()}@example.com`
  const client = new MerchantClient({ baseUrl })
  await signUpByMail(client, inbox, { email, password: 'one picture, one whole store' })
  await client.post('/workspaces', { body: { name: 'Demo Store' } })
  step(`signed up as ${email} by mail, made a workspace`, since)

  since = Date.now()
  const name = photoPath ? basename(photoPath) : 'sample-product.jpg'
  const asset = await client.assets.upload(photo, { name })
  step(`uploaded ${name} (${asset.mimeType}, ${Math.round(asset.size / 1024)} KB)`, since)

  since = Date.now()
  const requests: GenerationInput[] = [
    ...styles.map((style, i) => ({
      task: 'scene' as const,
      style,
      prompt: 'On a breakfast table, for slow mornings',
      aspectRatio: i % 2 === 0 ? ('1:1' as const) : ('4:3' as const),
    })),
    { task: 'cutout' },
    { task: 'packshot' },
    { task: 'upscale' },
    { task: 'expand', aspectRatio: '16:9' },
  ]
  const bars = new Map<string, string>()
  const signal = AbortSignal.timeout(DEADLINE)
  const jobs = await Promise.allSettled(
    requests.map((request) => {
      const onProgress = (progress: Progress) => {
        bars.set(nameOf(request), bar(progress))
        const line = [...bars].map((entry) => entry.join(' ')).join('  ')
        if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K  ${line}`)
      }
      return client.generations.run({ ...request, inputAssetIds: [asset.id] }, { onProgress, signal })
    }),
  )
  if (process.stdout.isTTY) process.stdout.write('\r\x1b[K')
  const done: Generation[] = jobs.flatMap((job) => (job.status === 'fulfilled' ? [job.value] : []))
  step(`generated ${done.length} of ${jobs.length} pictures`, since)
  for (const job of jobs) {
    if (job.status === 'rejected') console.log(`    ${oneLine(job.reason)}`)
  }

  since = Date.now()
  mkdirSync(out, { recursive: true })
  const files: string[] = []
  for (const { style, task, outputs } of done) {
    for (const [i, output] of outputs.entries()) {
      const file = join(out, `${style ?? task}-${i + 1}.${output.mimeType.split('/')[1]}`)
      writeFileSync(file, await (await client.assets.download(output.id)).bytes())
      files.push(relative(process.cwd(), file))
    }
  }
  step(`downloaded ${files.length} pictures`, since)
  const charged = done.reduce((sum, job) => sum + job.creditsCharged, 0)
  console.log(`\n${files.join('\n')}\n\n${charged} credits charged, ${seconds(started)} in all.`)
  if (done.length < jobs.length) process.exitCode = 1
}

main().catch((error: unknown) => {
  const isDown = error instanceof ConnectionError
  console.error(isDown ? `nothing answers at ${baseUrl}: start the stack with npm run dev` : oneLine(error))
  process.exit(1)
})
