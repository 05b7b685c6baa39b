/** `npm run demo [photo]`: the main job against the running stack, as a client of its API. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, join, relative, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { PROJECT } from '../dev/stack.ts'
import { makeSamplePhoto } from '../models/photo.ts'
import { hasEnded, styles } from '../src/words.ts'
import type { Generation } from './client.ts'
import { signUpByMail } from './inbox.ts'
import { oneLine } from './migrate.ts'

const DEADLINE_MS = 120_000
const api = process.env.API_URL ?? `http://127.0.0.1:${process.env.PORT ?? 8787}`
/** Where `npm run dev` shows the mails that it caught. */
const inbox =
  process.env.MAIL_URL ??
  `http://127.0.0.1:${process.env.MAIL_PORT ?? Number(process.env.PORT ?? 8787) + 2000}`
const out = join(PROJECT, 'out')

const seconds = (since: number) => `${((Date.now() - since) / 1000).toFixed(1)} s`
const step = (what: string, since: number) => console.log(`  ${what.padEnd(58)} ${seconds(since)}`)
const bar = ({ status, progress }: Generation) =>
  status === 'succeeded'
    ? 'done'
    : status === 'running'
      ? `${'#'.repeat(Math.ceil(progress / 20))}${progress}%`
      : status

const isOver = ({ status }: Generation) => hasEnded(status)

const main = async (): Promise<void> => {
  const started = Date.now()
  const [photoPath] = process.argv.slice(2)
  const photo = photoPath ? await readFile(resolve(photoPath)) : await makeSamplePhoto()
  console.log(`The main job, as a client of ${api}\n`)

  let since = Date.now()
  const email = `demo-${Date.now()}@example.com`
  const account = { email, password: 'one picture, one whole store' }
  const { client } = await signUpByMail(api, inbox, account).catch((error: unknown) => {
    if (error instanceof TypeError)
      throw new Error(`nothing answers at ${api}: start the stack with npm run dev`)
    throw error
  })
  await client.createWorkspace('Demo Store')
  step(`signed up as ${email} by mail, made a workspace`, since)

  since = Date.now()
  const name = photoPath ? basename(photoPath) : 'sample-product.jpg'
  const asset = await client.upload(name, photo)
  step(`uploaded ${name} (${asset.mimeType}, ${Math.round(asset.size / 1024)} KB)`, since)

  since = Date.now()
  const requests = [
    ...styles.map((style, i) => ({
      task: 'scene',
      style,
      prompt: 'On a breakfast table, for slow mornings',
      aspectRatio: i % 2 === 0 ? '1:1' : '4:3',
    })),
    { task: 'cutout' },
    { task: 'packshot' },
    { task: 'upscale' },
    { task: 'expand', aspectRatio: '16:9' },
  ]
  let jobs = await Promise.all(
    requests.map((request) => client.generate({ ...request, inputAssetIds: [asset.id] })),
  )
  while (!jobs.every(isOver) && Date.now() - since < DEADLINE_MS) {
    await delay(200)
    jobs = await Promise.all(jobs.map((job) => (isOver(job) ? job : client.getGeneration(job.id))))
    if (process.stdout.isTTY)
      process.stdout.write(
        `\r\x1b[K  ${jobs.map((job) => `${job.style ?? job.task} ${bar(job)}`).join('  ')}`,
      )
  }
  if (process.stdout.isTTY) process.stdout.write('\r\x1b[K')
  const done = jobs.filter(({ status }) => status === 'succeeded')
  step(`generated ${done.length} of ${jobs.length} pictures`, since)
  for (const job of jobs.filter(({ status }) => status !== 'succeeded')) {
    console.log(`    ${job.style ?? job.task}: ${job.status} ${job.error?.message ?? ''}`)
  }

  since = Date.now()
  mkdirSync(out, { recursive: true })
  const files: string[] = []
  for (const job of done) {
    for (const [i, output] of job.outputs.entries()) {
      const file = join(out, `${job.style ?? job.task}-${i + 1}.${output.mimeType.split('/')[1]}`)
      writeFileSync(file, Buffer.from(await (await fetch(output.url)).arrayBuffer()))
      files.push(relative(process.cwd(), file))
    }
  }
  step(`downloaded ${files.length} pictures`, since)
  const charged = done.reduce((sum, job) => sum + job.creditsCharged, 0)
  console.log(`\n${files.join('\n')}\n\n${charged} credits charged, ${seconds(started)} in all.`)
  if (done.length < jobs.length) process.exitCode = 1
}

main().catch((error: unknown) => {
  console.error(oneLine(error))
  process.exit(1)
})
