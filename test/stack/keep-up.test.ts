/** `npm run dev` stays up: what is killed comes back at its address, or everything ends with one line. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { freePort } from '../../dev/child.ts'
import { keepUp } from '../../dev/keep-up.ts'
import { processAt } from '../../dev/lock.ts'
import { SAMPLE } from '../../dev/seed.ts'
import { merchantAt } from '../support/merchant.ts'
import { waitFor } from '../support/wait-for.ts'

const MAIN = join(import.meta.dirname, '../../dev/main.ts')
/** Milliseconds. */
const PATIENCE = 90_000

/** Of `pid`: its processes, and theirs. */
function descendants(pid: number): { pid: number; command: string }[] {
  const children = readdirSync('/proc')
    .map(Number)
    .filter((candidate) => {
      try {
        // The name, in brackets, may hold spaces; what follows it can't.
        const [, parent] = readFileSync(`/proc/${candidate}/stat`, 'utf8')
          .replace(/^.*\) /s, '')
          .split(' ')
        return Number(parent) === pid
      } catch {
        return false
      }
    })
  return children.flatMap((child) => [
    { pid: child, command: processAt(child)?.command ?? '' },
    ...descendants(child),
  ])
}

test('what hangs is killed and started again', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  const lines: string[] = []
  let [starts, answering] = [0, true]
  const start = async () => {
    starts++
    const { promise: ended, resolve } = Promise.withResolvers<string>()
    const end = async () => resolve('killed')
    return { ended, answers: async () => answering, stop: end, kill: end }
  }
  const kept = await keepUp('It', start, (line) => lines.push(line))
  try {
    await vi.advanceTimersByTimeAsync(60_000)
    expect(lines).toEqual([])
    answering = false
    await vi.advanceTimersByTimeAsync(30_000)
    answering = true
    await expect.poll(() => lines).toEqual(["It doesn't answer: starting it again", 'It is up again'])
    await vi.advanceTimersByTimeAsync(60_000)
    expect([starts, lines.length]).toEqual([2, 2])
  } finally {
    vi.useRealTimers()
    await kept.stop()
  }
})

test('what ends time after time is given up', async () => {
  const lines: string[] = []
  let starts = 0
  const start = async () => {
    if (starts++ > 1) throw new Error('its port is taken')
    return { ended: Promise.resolve('it ended'), stop: async () => {}, kill: async () => {} }
  }
  const kept = await keepUp('It', start, (line) => lines.push(line))
  expect(await kept.lost).toBe('its port is taken')
  expect(starts).toBe(4)
  expect(lines).toEqual([
    'it ended: starting it again',
    'It is up again',
    'it ended: starting it again',
    'its port is taken: starting it again',
  ])
})

test(
  'npm run dev -- --reset does not take a database by URL',
  () => {
    const env = { ...process.env, DATABASE_URL: 'postgres://user:password@127.0.0.1:1/none' }
    const { status, stderr } = spawnSync(process.execPath, [MAIN, '--reset'], { env, encoding: 'utf8' })
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: '--reset starts the embedded database clean: drop the one in DATABASE_URL yourself\n',
    })
  },
  PATIENCE,
)

// By /proc, and never on somebody's own database.
describe.runIf(process.platform === 'linux' && !process.env.DATABASE_URL)('npm run dev', () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'content-api-keep-up-'))
  chmodSync(dataDir, 0o755)
  let [output, errors] = ['', '']
  let stack: ChildProcess
  let port: number
  let url: string

  beforeAll(async () => {
    port = await freePort()
    url = `http://127.0.0.1:${port}`
    const ports = { PORT: String(port), STORAGE_PORT: String(await freePort()) }
    const env = { ...process.env, ...ports, DATA_DIR: dataDir }
    stack = spawn(process.execPath, [MAIN], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    stack.stdout?.on('data', (chunk) => {
      output += chunk
    })
    stack.stderr?.on('data', (chunk) => {
      errors += chunk
    })
    await waitFor('everything is up', async () => output.includes('Ctrl-C'), PATIENCE)
  }, PATIENCE)

  afterAll(async () => {
    if (stack.exitCode === null) {
      stack.kill('SIGINT')
      await once(stack, 'exit')
    }
    rmSync(dataDir, { recursive: true, force: true })
  }, 60_000)

  /** As a crash would end it; the process whose command contains all of `words`. */
  const killProcess = (...words: string[]) => {
    const found = descendants(Number(stack.pid)).find(({ command }) =>
      words.every((word) => command.includes(word)),
    )
    process.kill(found?.pid ?? expect.fail(`no process ${words.join(' ')}`), 'SIGKILL')
  }

  /** The main job, from signing in to the bytes. */
  const works = async () => {
    const client = merchantAt(url)
    await client.signIn(SAMPLE)
    const { id } = await client.post('/generations', { body: { task: 'scene', prompt: 'still here' } })
    const job = await waitFor(
      'the job succeeds',
      async () => {
        const now = await client.generations.get(id)
        return now.status === 'succeeded' && now
      },
      PATIENCE,
    )
    expect(job.outputs).toHaveLength(1)
    for (const { url } of job.outputs) expect((await fetch(url)).status).toBe(200)
  }

  test.each([
    // wrangler starts its runtime again, and passes no request on.
    ['its runtime', 'the API', 'worker.log', () => ['workerd', `entry=127.0.0.1:${port} `]],
    ['wrangler', 'the API', 'worker.log', () => ['bin/wrangler.js']],
    ['its program', 'the storage', 'storage.log', () => ['storage-server']],
    ['its server', 'PostgreSQL', 'postgres.log', () => ['bin/postgres']],
  ])(
    'after the death of %s %s comes back',
    async (_part, name, logName, words) => {
      const before = output.length
      killProcess(...words())
      const said = () => output.slice(before)
      await waitFor('it is up again', async () => said().includes('is up again'), PATIENCE)
      const lines = `^${name} ended \\(SIGKILL\\), see .*${logName}: starting it again\n${name} is up again\n$`
      expect(said()).toMatch(new RegExp(lines, 'i'))
      await works()
    },
    2 * PATIENCE,
  )

  test('a download leads to another origin, where clients leave the token behind', async () => {
    const signedIn = await merchantAt(url).post('/auth/login', { body: SAMPLE })
    if (!('access_token' in signedIn)) return expect.unreachable('asks for a second factor')
    const [asset] = (await merchantAt(url, signedIn.access_token).get('/assets')).data
    const headers = { authorization: `Bearer ${signedIn.access_token}` }
    const redirect = await fetch(`${url}/api/v1/assets/${asset?.id}/download`, {
      headers,
      redirect: 'manual',
    })
    const location = String(redirect.headers.get('location'))
    expect(new URL(location).origin).not.toBe(url)
    expect((await fetch(location)).status).toBe(200)
    // What the clients avoid: S3 refuses two authentications.
    expect((await fetch(location, { headers })).status).toBe(400)
  })

  test(
    'what does not come back ends everything, with one line and exit code 1',
    async () => {
      const children = descendants(Number(stack.pid))
      rmSync(join(dataDir, 'postgres/global/pg_control'))
      const exited = once(stack, 'exit')
      killProcess('bin/postgres')
      expect(await exited).toEqual([1, null])
      expect(errors).toMatch(/^Everything stops: PostgreSQL doesn't start on .*\n$/)
      expect(children.length).toBeGreaterThan(5)
      await expect.poll(() => children.filter(({ pid }) => processAt(pid)), { timeout: 10_000 }).toEqual([])
    },
    PATIENCE,
  )
})
