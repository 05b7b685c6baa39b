/** `npm run dev`: everything up, migrated and seeded, on one screen. */
import { rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { relative, resolve } from 'node:path'
import { oneLine } from '../scripts/migrate.ts'
import { SAMPLE, seed } from './seed.ts'
import { PROJECT, startStack } from './stack.ts'
import { startWorker } from './worker.ts'

const isFree = (port: number) =>
  new Promise<boolean>((resolve) => {
    const server = createServer()
      .once('error', () => resolve(false))
      .listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })

const main = async (): Promise<void> => {
  const port = Number(process.env.PORT ?? 8787)
  if (!Number.isInteger(port) || port < 1 || port > 65535)
    throw new Error(`PORT=${process.env.PORT} is no port`)
  if (!(await isFree(port))) {
    throw new Error(
      `port ${port} is in use: stop what uses it, or take another with PORT=${port + 1} npm run dev`,
    )
  }
  const dataDir = resolve(PROJECT, process.env.DATA_DIR ?? '.data')
  const url = `http://127.0.0.1:${port}`
  const stops: (() => Promise<void>)[] = []
  let stopping: Promise<void> | undefined
  const stop = () => {
    stopping ??= (async () => {
      for (const step of stops.reverse()) await step()
    })()
    return stopping
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => void stop().then(() => process.exit(0)))
  }
  if (process.argv.includes('--reset')) rmSync(dataDir, { recursive: true, force: true })
  try {
    const stack = await startStack({
      dataDir,
      databaseUrl: process.env.DATABASE_URL,
      publicUrl: url,
      s3Endpoint: `${url}/cdn-cgi/local/r2/s3/merchant-assets`,
      log: (line) => console.log(line),
    })
    stops.push(stack.stop)
    const worker = await startWorker({ port, dataDir, settings: stack.settings })
    stops.push(worker.stop)
    void worker.ended.then(() => {
      if (stopping !== undefined) return
      console.error(`The Worker ended by itself, see ${worker.logPath}`)
      void stop().then(() => process.exit(1))
    })
    await seed(url)
    console.log(
      screen({ url, database: stack.database.describe, models: stack.models.url, log: worker.logPath }),
    )
  } catch (error) {
    await stop()
    throw error
  }
}

const screen = (at: { url: string; database: string; models: string; log: string }) => `
  API       ${at.url}/api/v1
  Docs      ${at.url}/docs
  Database  ${at.database}
  Storage   ${at.url}/cdn-cgi/local/r2/s3/merchant-assets (S3)
  Models    ${at.models}
  Log       ${relative(process.cwd(), at.log) || at.log}

  Sample    ${SAMPLE.email} / ${SAMPLE.password}

  First request:
    curl -s ${at.url}/api/v1/auth/login -H 'content-type: application/json' \\
      -d '{"email":"${SAMPLE.email}","password":"${SAMPLE.password}"}'

  The whole job, as a client:  npm run demo
  Ctrl-C stops everything.
`

main().catch((error: unknown) => {
  console.error(oneLine(error))
  process.exit(1)
})
