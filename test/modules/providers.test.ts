/** What providers must not do to us: each is asked, in Node, at a server that answers as the test says. */
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Env } from '../../src/env.ts'
import { failureOf } from '../../src/providers/failures.ts'
import { fal } from '../../src/providers/fal.ts'
import { gemini } from '../../src/providers/gemini.ts'
import { openai } from '../../src/providers/openai.ts'
import { type AtOnceProvider, ProviderError, urlsAt } from '../../src/providers/provider.ts'
import { replicate } from '../../src/providers/replicate.ts'
import { workersAi } from '../../src/providers/workers-ai.ts'
import { asJson, startAnswers } from '../support/answers.ts'

let server: Awaited<ReturnType<typeof startAnswers>>
const answers: Parameters<typeof startAnswers>[0] = {}
beforeAll(async () => {
  server = await startAnswers(answers)
  // Node wants it said that a stream is sent before the answer is read.
  const { fetch } = globalThis
  globalThis.fetch = (url, init) => fetch(url, Object.assign({ method: 'GET', duplex: 'half' }, init))
  return () => {
    globalThis.fetch = fetch
    server.stop()
  }
})
afterEach(() => {
  server.asked.length = 0
})

const submission = {
  model: 'm',
  fields: { text: 'x', prompt: 'x' },
  photos: [],
  photoFields: {},
  output: '/images/*/url',
  webhookUrl: 'http://127.0.0.1/',
  timeout: 60,
}

const envOf = () =>
  // `as`: the settings that providers read.
  ({
    OPENAI_BASE_URL: server.url,
    GEMINI_BASE_URL: server.url,
    GEMINI_API_KEY: 'the key',
    CLOUDFLARE_AI_BASE_URL: server.url,
    CLOUDFLARE_ACCOUNT_ID: 'a',
    REPLICATE_BASE_URL: server.url,
  }) as Env

const render = (provider: AtOnceProvider, photos: { url: string; mimeType: string }[] = []) => {
  const kept: Buffer[] = []
  const keep = async (bytes: AsyncIterable<Uint8Array>) => {
    const pieces: Buffer[] = []
    for await (const piece of bytes) pieces.push(Buffer.from(piece))
    kept.push(Buffer.concat(pieces))
  }
  const failure = provider.render(envOf(), { ...submission, photos }, keep, AbortSignal.timeout(1500))
  return failure.then((said) => ({ said, kept }))
}

const paths = {
  openai: '/images/generations',
  gemini: '/models/m:generateContent',
  workersAi: '/accounts/a/ai/run/m',
}

describe.each([
  ['OpenAI', openai, paths.openai],
  ['Gemini', gemini, paths.gemini],
  ['Workers AI', workersAi, paths.workersAi],
])('%s', (_, provider, path) => {
  test('an error or a page under 200 is a failure in its own words', async () => {
    answers[path] = asJson({ error: { message: 'flagged by the safety system' } })
    expect((await render(provider)).said?.reason).toBe('content_rejected')
    answers[path] = (_, response) => void response.end('<html>Be back soon. Copyright</html>')
    expect((await render(provider)).said?.reason).toBe('provider_failed')
    answers[path] = (_, response) => void response.end()
    expect((await render(provider)).said?.reason).toBe('provider_failed')
  })

  test('words without an end are not read to theirs', async () => {
    const sent = { bytes: 0 }
    answers[path] = (_, response) => {
      const piece = Buffer.alloc(1 << 20, 'x')
      const write = () => {
        if (response.destroyed || sent.bytes > 64 << 20) return response.end()
        sent.bytes += piece.length
        response.write(piece, write)
        return undefined
      }
      write()
    }
    await expect(render(provider)).rejects.toThrow('too long')
    expect(sent.bytes).toBeLessThan(32 << 20)
  })

  test('the key follows no redirect', async () => {
    answers['/elsewhere'] = asJson({})
    answers[path] = (_, response) => void response.writeHead(307, { location: '/elsewhere' }).end()
    await expect(render(provider)).rejects.toThrow(ProviderError)
    expect(server.asked.map(({ url }) => url)).toEqual([path])
  })

  test('a photo that does not come is no fault of the provider, which is not asked', async () => {
    answers['/photo'] = () => undefined
    const rejected = render(provider, [{ url: `${server.url}/photo`, mimeType: 'image/png' }])
    await expect(rejected).rejects.toMatchObject({ failure: { reason: 'no_input' }, isRefusal: true })
    expect(server.asked.map(({ url }) => url)).toEqual(['/photo'])
  })
})

test.each([{}, { id: 1, status: 'succeeded' }, { id: 'x', status: 'a new one' }, 'x', null])(
  'Replicate answers %j: it may have accepted',
  async (body) => {
    answers['/predictions'] = asJson(body, 201)
    const submitted = replicate.submit(envOf(), submission)
    await expect(submitted).rejects.toMatchObject({ isRefusal: false, failure: { reason: 'unreachable' } })
  },
)

test('a cancellation is one whatever its answer says', async () => {
  answers['/predictions/x/cancel'] = (_, response) => void response.writeHead(202).end()
  await replicate.cancel(envOf(), { id: 'x' })
  await fal.cancel(envOf(), { cancel_url: `${server.url}/predictions/x/cancel` })
})

test.each([
  ['', 'https://a/1', ['https://a/1']],
  ['', ['https://a/1', null, 'no URL', { url: 'https://a/2' }, 'gs://b/3'], ['https://a/1']],
  [
    '/images/*/url',
    { images: [{ url: 'https://a/1' }, {}, { url: 2 }, { url: 'https://a/2' }] },
    ['https://a/1', 'https://a/2'],
  ],
  ['/images/*/url', { images: { url: 'https://a/1' } }, []],
  ['/image/url', { image: { url: 'https://a/1' } }, ['https://a/1']],
  ['/images', { images: ['https://a/1'] }, ['https://a/1']],
  ['/images/*/url', null, []],
])('at %j of %j are %j', (pointer, value, urls) => {
  expect(urlsAt(value, pointer)).toEqual(urls)
})

test("fal's result is not given up for what stands before it", async () => {
  answers['/status'] = asJson({ status: 'COMPLETED' })
  answers['/result'] = (_, response) => void response.writeHead(503).end('upstream')
  const operation = { status_url: `${server.url}/status`, response_url: `${server.url}/result` }
  await expect(fal.get(envOf(), operation, '')).rejects.toThrow(ProviderError)
  answers['/result'] = asJson({ detail: 'downstream_service_error' }, 500)
  expect(await fal.get(envOf(), operation, '')).toMatchObject({ status: 'failed' })
})

test.each([
  ['-5', undefined],
  ['Infinity', undefined],
  ['Wed, 21 Oct 2026 07:28:00 GMT', undefined],
  ['0.4', 1],
  ['7', 7],
])('Retry-After: %s', async (value, seconds) => {
  answers['/predictions/x'] = (_, response) => void response.writeHead(429, { 'retry-after': value }).end()
  const asked = replicate.get(envOf(), { id: 'x' }, '')
  await expect(asked).rejects.toMatchObject({ retryAfter: seconds })
})

test('a page of something in between is nobody’s content, and what URLs are signed with is told to nobody', () => {
  expect(failureOf('x answered 502: <html>Bad gateway. Copyright 2026</html>', 502).reason).toBe(
    'unreachable',
  )
  expect(failureOf('x answered 403: <!DOCTYPE html>Copyright', 403).reason).toBe('key_refused')
  expect(failureOf('x answered 400: moderation_blocked', 400).reason).toBe('content_rejected')
  const { detail } = failureOf(
    '{"image_url":"https://s3.example.com/b/k?X-Amz-Signature=abc&x=1","a":1}',
    422,
  )
  expect(detail).toBe('{"image_url":"https://s3.example.com/b/k?…","a":1}')
})

test('what a provider says is cut, and fits into JSON that PostgreSQL takes', () => {
  const { detail } = failureOf(`Replicate: failed: a\0b ${'x'.repeat(1980)}😀😀 and more`)
  expect(detail.length).toBeLessThanOrEqual(2000)
  expect(detail).not.toContain('\0')
  expect(detail.isWellFormed()).toBe(true)
})
