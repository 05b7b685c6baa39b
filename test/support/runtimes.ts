/** Runs the client package's scenario in other runtimes, on a tenant and a breaking connection of its own. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { Miniflare } from 'miniflare'
import { Webhook } from 'standardwebhooks'
import { expect, onTestFinished } from 'vitest'
import type { Tokens } from '../../client/src/index.ts'
import type { Given, scenario } from '../client/scenario.ts'
import { breakable } from './merchant.ts'
import { logIn, newTenant } from './tenants.ts'
import { claimsOf, signToken } from './tokens.ts'

type Outcome = Awaited<ReturnType<typeof scenario>>

const SOURCE = new URL('../client/scenario.ts', import.meta.url).pathname

/** The scenario with the client, as one module. */
export const bundleScenario = async (format: 'esm' | 'iife') => {
  const { outputFiles } = await build({
    entryPoints: [SOURCE],
    bundle: true,
    minify: true,
    target: 'esnext',
    write: false,
    format,
    globalName: 'client',
  })
  return String(outputFiles[0]?.text)
}

/** A tenant whose token has expired, and faults on the way: a lost refresh, a job's lost answer, and streams that break. */
const prepare = async (): Promise<Given> => {
  const { email, workspaceId } = await newTenant()
  // `as`: as the document says, which the tests' client checks.
  const tokens = (await logIn(email)).body as Tokens
  const expired = { ...claimsOf(tokens.access_token), exp: Math.floor(Date.now() / 1000) - 1 }
  const link = await breakable()
  link.fault({ kind: 'reset', of: 'answer', match: 'POST /api/v1/auth/refresh', times: 1 })
  link.fault({ kind: 'reset', of: 'answer', match: 'POST /api/v1/generations', times: 1 })
  link.fault({ kind: 'reset', of: 'answer', match: '/complete', times: 1 })
  link.fault({ kind: 'reset', of: 'answer', after: 1000, match: '/events', times: 1 })
  const body = JSON.stringify({ type: 'generation.succeeded', timestamp: '', data: {} })
  const [id, at, secret] = ['msg_1', new Date(), `whsec_${btoa('a secret of an endpoint')}`]
  return {
    api: link.origin,
    workspaceId,
    session: { ...tokens, access_token: await signToken(expired) },
    webhook: {
      body,
      secret,
      headers: {
        'webhook-id': id,
        'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
        'webhook-signature': new Webhook(secret).sign(id, at, body),
      },
    },
  }
}

/** The same everywhere. @param run gives the scenario to a runtime */
export const expectMainJob = async (run: (given: Given) => Promise<Outcome>) => {
  expect(await run(await prepare())).toEqual({
    plans: ['free'],
    refreshedOnce: true,
    small: 12,
    large: [9_000_000, 'ready', 0, 9_000_000],
    job: ['succeeded', 1],
    heard: ['queued', 'succeeded'],
    file: true,
    copy: 'image/webp',
    events: ['queued', 'running', 'succeeded'],
    names: ['large.txt', 'small.txt'],
    aborted: true,
    refused: 'not_found',
    webhook: 'generation.succeeded',
    tampered: 'WebhookError: no signature fits: another secret, or not the body as it came',
  })
}

/** By a command that runs a module with arguments. It has to end by itself: whatever still waits keeps it from that. */
export const runProcess = async (command: string, args: string[], given: Given): Promise<Outcome> => {
  const folder = await mkdtemp(join(tmpdir(), 'content-api-client-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const path = join(folder, 'main.mjs')
  await writeFile(join(folder, 'scenario.mjs'), await bundleScenario('esm'))
  await writeFile(
    path,
    `import { scenario } from './scenario.mjs'\nconsole.log(JSON.stringify(await scenario(${JSON.stringify(given)})))\n`,
  )
  const { stdout } = await promisify(execFile)(command, [...args, path], { timeout: 55_000, cwd: folder })
  return JSON.parse(stdout)
}

/** A Worker of these modules, `main.mjs` first, on bare workerd, with texts as its environment. */
export const startWorker = (modules: Record<string, string>, env: Record<string, string> = {}) => {
  const worker = new Miniflare({
    cf: false,
    telemetry: { enabled: false },
    workers: [
      {
        config: {
          name: 'client',
          compatibilityDate: '2026-11-01',
          manifest: {
            mainModule: 'main.mjs',
            modulesRoot: '/',
            modules: mapValues(modules, (contents) => ({ type: 'esm' as const, contents })),
          },
          env: mapValues(env, (value) => ({ type: 'text' as const, value })),
        },
      },
    ],
  })
  onTestFinished(() => worker.dispose())
  return (body: BodyInit) => worker.dispatchFetch('http://worker/', { method: 'POST', body: body as never })
}

const mapValues = <T>(values: Record<string, string>, map: (value: string) => T): Record<string, T> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, map(value)]))
