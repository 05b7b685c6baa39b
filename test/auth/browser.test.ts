/** A passkey in a real browser, with an authenticator of its debugging protocol: made, used to sign in, and of no use elsewhere. */
import bundled from '@sparticuz/chromium'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ORIGIN } from '../support/authenticator.ts'
import { createClient } from '../support/client.ts'
import { stack } from '../support/control.ts'
import { logIn, signUp } from '../support/tenants.ts'
import { claimsOf } from '../support/tokens.ts'

let browser: Browser
beforeAll(async () => {
  browser = await chromium.launch({
    executablePath: await bundled.executablePath(),
    // Not the package's own arguments, which turn off what keeps origins apart. The API is on this machine, and the page as if from afar.
    args: ['--no-sandbox', '--disable-gpu', '--disable-features=LocalNetworkAccessChecks'],
  })
})
afterAll(() => browser?.close())

/** A page of that origin, with an authenticator that verifies its user. */
const openPage = async (origin: string) => {
  const context = await browser.newContext()
  const page = await context.newPage()
  await page.route(`${origin}/**`, (route) =>
    route.fulfill({ contentType: 'text/html', body: '<p>front end' }),
  )
  await page.goto(`${origin}/`)
  const debug = await context.newCDPSession(page)
  await debug.send('WebAuthn.enable')
  const { authenticatorId } = await debug.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  })
  const credentials = async () =>
    (await debug.send('WebAuthn.getCredentials', { authenticatorId })).credentials
  return { page, debug, authenticatorId, credentials }
}

interface Answer {
  status: number
  body: Record<string, unknown>
}

/** What a front end does, in its page: asks for options, has the browser act on them, and sends what came of it. */
const inPage = (page: Page, act: 'create' | 'get', token?: string) =>
  page.evaluate(
    async ({ api, act, token }): Promise<Answer> => {
      const post = async (path: string, body?: unknown) => {
        const response = await fetch(api + path, {
          method: 'POST',
          headers: {
            ...(body !== undefined && { 'content-type': 'application/json' }),
            ...(token && { authorization: `Bearer ${token}` }),
          },
          ...(body !== undefined && { body: JSON.stringify(body) }),
        })
        return { status: response.status, body: await response.json() }
      }
      const path = act === 'create' ? '/auth/passkeys' : '/auth/login/passkey'
      const options = (await post(`${path}/options`)).body
      try {
        const credential =
          act === 'create'
            ? await navigator.credentials.create({
                publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options),
              })
            : await navigator.credentials.get({
                publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options),
              })
        return await post(path, { passkey: (credential as PublicKeyCredential).toJSON() })
      } catch (error) {
        return { status: 0, body: { error: String(error) } }
      }
    },
    { api: `${stack.api}/api/v1`, act, ...(token && { token }) },
  )

test('a passkey is made and signs in, in a browser', async () => {
  const { client, email, userId, token } = await signUp()
  const { page, credentials } = await openPage(ORIGIN)
  const made = await inPage(page, 'create', token)
  expect(made, JSON.stringify(made.body)).toMatchObject({ status: 201, body: { lastUsedAt: null } })
  expect(await credentials()).toMatchObject([
    { isResidentCredential: true, rpId: 'localhost', userName: email },
  ])
  expect(await inPage(page, 'create', token)).toMatchObject({
    status: 0,
    body: { error: expect.stringContaining('InvalidStateError') },
  })

  for (let i = 0; i < 2; i++) {
    const used = await inPage(page, 'get')
    expect(used.status, JSON.stringify(used.body)).toBe(200)
    expect(claimsOf(used.body.access_token as string).sub).toBe(userId)
  }
  expect((await logIn(email)).status).toBe(202)
  const { body } = await client.get('/auth/passkeys')
  expect(body.data).toMatchObject([{ id: made.body.id, lastUsedAt: expect.any(String) }])
  expect((await client.delete(`/auth/passkeys/${made.body.id}`)).status).toBe(204)
  expect(await inPage(page, 'get')).toMatchObject({ status: 401, body: { code: 'invalid_passkey' } })
  await page.context().close()
})

test('a page of another origin gets nothing: the browser knows no passkey for it, and the API takes none from it', async () => {
  const { token } = await signUp()
  const { page } = await openPage('http://localhost:3999')
  // CORS: the page can't even read the options.
  await expect(inPage(page, 'create', token)).rejects.toThrow('Failed to fetch')
  const options = await createClient({ token }).post('/auth/passkeys/options')
  // Handed over by other means, since a page of the same host may use the relying party.
  const passkey = await page.evaluate(async (json) => {
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(json as never)
    return ((await navigator.credentials.create({ publicKey })) as PublicKeyCredential).toJSON()
  }, options.body)
  expect(await createClient({ token }).post('/auth/passkeys', { passkey })).toMatchObject({
    status: 401,
    body: { code: 'invalid_passkey', detail: 'It was made on a page of another origin.' },
  })
  await page.context().close()
})

test('an authenticator that does not verify its user makes and signs nothing', async () => {
  const { token } = await signUp()
  const { page, debug, authenticatorId } = await openPage(ORIGIN)
  expect((await inPage(page, 'create', token)).status).toBe(201)
  await debug.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: false })
  expect(await inPage(page, 'get')).toMatchObject({
    status: 0,
    body: { error: expect.stringContaining('NotAllowedError') },
  })
  await page.context().close()
})
