/** The client package as it is packed: its size, and its examples, installed from the tarball and run. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { copyFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { encode } from '@auth/core/jwt'
import { build } from 'esbuild'
import { Webhook } from 'standardwebhooks'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { installed, LIMIT, pack, sizeOf } from '../../client/release.ts'
import { freePort } from '../../dev/child.ts'
import { makeSamplePhoto } from '../../models/photo.ts'
import { stack } from '../support/control.ts'
import { startWorker } from '../support/runtimes.ts'
import { newEmail, newKey, newTenant, type Tenant } from '../support/tenants.ts'
import { secrets } from '../support/tokens.ts'
import { waitFor } from '../support/wait-for.ts'

const EXAMPLES = new URL('../../client/examples/', import.meta.url).pathname
const SCOPES = [
  ...['create', 'begin', 'resume', 'complete', 'get', 'list', 'download'].map((verb) => `asset.${verb}`),
  ...['create', 'get', 'events', 'cancel'].map((verb) => `generation.${verb}`),
]

let folder: string
let photo: Uint8Array<ArrayBuffer>

beforeAll(async () => {
  const tarball = await pack(join(import.meta.dirname, '../../client/out'))
  folder = await installed(tarball)
  for (const name of await readdir(EXAMPLES)) await copyFile(join(EXAMPLES, name), join(folder, name))
  photo = Uint8Array.from(await makeSamplePhoto())
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const keyOf = async ({ client }: Tenant) => (await newKey(client, SCOPES)).key

const environmentOf = async (tenant: Tenant) => ({
  ...process.env,
  MERCHANT_API_URL: stack.api,
  MERCHANT_API_KEY: await keyOf(tenant),
})

test('the package in a bundle is smaller than it may be, and holds nothing of others', async () => {
  const { gzipped, outside } = await sizeOf()
  expect(outside).toEqual([])
  expect(gzipped).toBeLessThan(LIMIT)
})

test('the script: a photo becomes files', async () => {
  await writeFile(join(folder, 'mug.jpg'), photo)
  const env = await environmentOf(await newTenant())
  const args = ['script.ts', 'mug.jpg', 'On a breakfast table']
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder, env })
  expect(stdout).toMatch(/sent 100 %\n.*queued 0 %\n.*succeeded 100 %\nwrote .*wrote /s)
  const wrote = [...stdout.matchAll(/wrote (.*)/g)].map(([, name]) => String(name))
  expect(await readdir(folder)).toEqual(expect.arrayContaining(wrote))
  expect(new Set(wrote).size).toBe(2)
})

test('the route of Next.js: by the cookie of Auth.js, and not without', async () => {
  const name = 'authjs.session-token'
  const email = newEmail()
  const profile = {
    sub: '1',
    email,
    name: 'Ann',
    provider: 'google',
    providerAccountId: email,
    emailVerified: true,
  }
  const cookie = `${name}=${await encode({ token: profile, secret: String(secrets.AUTH_SECRET), salt: name, maxAge: 3600 })}`
  const origin = 'http://localhost:3000'
  const made = await fetch(`${stack.api}/api/v1/workspaces`, {
    method: 'POST',
    headers: { cookie, origin, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'Next Store' }),
  })
  expect(made.status).toBe(201)
  Object.assign(process.env, { MERCHANT_API_URL: stack.api, AUTH_URL: origin })
  const { POST } = await import(join(folder, 'next-route.ts'))
  const post = (headers: Record<string, string>) => {
    const body = new FormData()
    body.append('photo', new File([photo], 'mug.jpg'))
    body.append('prompt', 'On a breakfast table')
    return POST(new Request(`${origin}/api/pictures`, { method: 'POST', body, headers })) as Promise<Response>
  }
  const answer = await post({ cookie })
  expect(answer.status).toBe(200)
  const { pictures } = (await answer.json()) as { pictures: string[] }
  expect((await fetch(String(pictures[0]))).headers.get('content-type')).toMatch(/^image\//)
  expect((await post({})).status).toBe(401)
})

test('the Worker: a photo is answered with a cutout', async () => {
  const { outputFiles } = await build({
    entryPoints: [join(folder, 'worker.ts')],
    bundle: true,
    format: 'esm',
    write: false,
  })
  const env = { MERCHANT_API_URL: stack.api, MERCHANT_API_KEY: await keyOf(await newTenant()) }
  const ask = startWorker({ 'main.mjs': String(outputFiles[0]?.text) }, env)
  const answer = await ask(photo)
  expect(answer.status).toBe(200)
  expect(answer.headers.get('content-type')).toBe('image/png')
  expect((await answer.arrayBuffer()).byteLength).toBeGreaterThan(1000)
  const refused = await ask(new Uint8Array(10))
  expect(refused.status).toBe(415)
})

test('the receiver: believes what the API sends, once, and nobody else', async () => {
  const tenant = await newTenant()
  const port = await freePort()
  const url = `http://127.0.0.1:${port}/`
  const { body: endpoint } = await tenant.client.post<{ secret: string }>('/webhooks', { url })
  const env = {
    ...(await environmentOf(tenant)),
    PORT: String(port),
    WEBHOOK_SECRET: `whsec_${btoa('the new one')},${endpoint.secret}`,
  }
  const receiver: ChildProcess = spawn(process.execPath, ['webhook-receiver.ts'], { cwd: folder, env })
  onTestFinished(() => void receiver.kill())
  let said = ''
  for (const stream of [receiver.stdout, receiver.stderr])
    stream?.on('data', (chunk) => (said += String(chunk)))
  await waitFor('it listens', async () => said.includes('listens'))
  const { body: job } = await tenant.client.post<{ id: string }>('/generations', {
    task: 'scene',
    prompt: 'x',
  })
  await waitFor('it has heard', async () => said.includes(`${job.id} has 1 pictures`))
  const send = (body: string, secret: string) => {
    const [id, at] = ['msg_of_the_test', new Date()]
    const headers = {
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
      'webhook-signature': new Webhook(secret).sign(id, at, body),
    }
    return fetch(url, { method: 'POST', body, headers })
  }
  const data = { generationId: job.id, status: 'succeeded', progress: 100, at: new Date().toISOString() }
  const message = JSON.stringify({ type: 'generation.succeeded', timestamp: data.at, data })
  expect((await send(message, `whsec_${btoa('of somebody else')}`)).status).toBe(400)
  for (let i = 0; i < 2; i++) expect((await send(message, endpoint.secret)).status).toBe(204)
  await waitFor('it has read the job', async () => said.split('has 1 pictures').length === 3)
  expect(said.split('has 1 pictures')).toHaveLength(3)
})
