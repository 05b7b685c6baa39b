/** `npm run dev`: everything up, migrated and seeded, on one screen, and kept up until Ctrl-C. */
import { rmSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { oneLine } from '../scripts/migrate.ts'
import { isFree } from './child.ts'
import { startInbox } from './inbox.ts'
import { keepUp } from './keep-up.ts'
import { SAMPLE, seed } from './seed.ts'
import { PROJECT, type Stack, startStack } from './stack.ts'
import { bucketUrl, startStorage } from './storage.ts'
import { startWorker } from './worker.ts'

/** Throws, with the way out, when the number is none or somebody listens there. */
const readPort = async (name: string, standard: number): Promise<number> => {
  const port = Number(process.env[name] ?? standard)
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw new Error(`${name}=${process.env[name] ?? standard} is no port: set ${name} to one from 1 to 65535`)
  }
  if (!(await isFree(port))) {
    throw new Error(
      `port ${port} is in use: stop what uses it, or take another with ${name}=${port + 1} npm run dev`,
    )
  }
  return port
}

const log = (line: string) => console.log(line)

/** What has been started, to be stopped once and in reverse. */
const createStops = () => {
  const steps: (() => Promise<void>)[] = []
  let stopped: Promise<void> | undefined
  return {
    add: (step: () => Promise<void>) => void steps.push(step),
    run: () => {
      stopped ??= (async () => {
        for (const step of steps.reverse()) await step()
      })()
      return stopped
    },
  }
}

const main = async (): Promise<void> => {
  const reset = process.argv.includes('--reset')
  const databaseUrl = process.env.DATABASE_URL
  if (reset && databaseUrl) {
    throw new Error('--reset starts the embedded database clean: drop the one in DATABASE_URL yourself')
  }
  const port = await readPort('PORT', 8787)
  // Not the next one: that is where a second stack is often put.
  const storagePort = await readPort('STORAGE_PORT', port + 1000)
  const mailPort = await readPort('MAIL_PORT', port + 2000)
  const dataDir = resolve(PROJECT, process.env.DATA_DIR ?? '.data')
  const url = `http://127.0.0.1:${port}`
  const stops = createStops()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => void stops.run().then(() => process.exit(0)))
  }
  try {
    const stack = await startStack({
      dataDir,
      databaseUrl,
      reset,
      publicUrl: url,
      s3Endpoint: bucketUrl(storagePort),
      log,
    })
    stops.add(stack.stop)
    for (const name of ['storage.log', 'worker.log']) rmSync(join(dataDir, name), { force: true })
    const { settings } = stack
    const storage = await keepUp(
      'The storage',
      (signal) => startStorage({ port: storagePort, dataDir, settings }, signal),
      log,
    )
    stops.add(storage.stop)
    const worker = await keepUp('The API', (signal) => startWorker({ port, dataDir, settings }, signal), log)
    stops.add(worker.stop)
    void Promise.race([stack.database.lost, storage.lost, worker.lost]).then(async (reason) => {
      console.error(`Everything stops: ${reason}`)
      await stops.run()
      process.exit(1)
    })
    const inbox = await startInbox(mailPort, () => worker.service().url)
    stops.add(inbox.stop)
    await seed(url, inbox.url)
    console.log(screen(url, inbox.url, stack, worker.service().logPath))
  } catch (error) {
    await stops.run()
    throw error
  }
}

const screen = (url: string, inbox: string, { database, models, settings }: Stack, logPath: string) => `
  API       ${url}/api/v1
  Docs      ${url}/docs
  Database  ${database.describe}
  Storage   ${settings.S3_ENDPOINT} (S3)
  Models    ${models.url}
  Inbox     ${inbox} (every mail of this stack)
  Log       ${relative(process.cwd(), logPath) || logPath}

  Sample    ${SAMPLE.email} / ${SAMPLE.password}

  First request:
    curl -s ${url}/api/v1/auth/login -H 'content-type: application/json' \\
      -d '{"email":"${SAMPLE.email}","password":"${SAMPLE.password}"}'

  The whole job, as a client:  npm run demo
  Ctrl-C stops everything.
`

main().catch((error: unknown) => {
  console.error(oneLine(error))
  process.exit(1)
})
