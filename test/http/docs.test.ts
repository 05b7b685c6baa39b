/** The reference of the API as a page, and the files that it loads. */
import { hash } from 'node:crypto'
import { expect, test } from 'vitest'
import { createClient } from '../support/client.ts'
import { checkSchema, type Json, openApi } from '../support/contract.ts'
import { stack } from '../support/control.ts'
import { routes } from '../support/routes.ts'

test('serves the reference with all its sources from its own origin', async () => {
  const page = await createClient().request<string>('GET', '/docs')
  expect(page.headers.get('content-type')).toContain('text/html')
  const sources = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, source]) => source as string)
  expect(sources.length).toBe(2)
  for (const source of sources) {
    expect(source).toMatch(/^\/docs\//)
    expect((await fetch(stack.api + source)).status).toBe(200)
  }
  expect(openApi).toMatchObject({ openapi: '3.1.0' })
  expect((await fetch(`${stack.api}/index.html`)).status).toBe(404)
})

/** By status. */
const headers = { 401: 'WWW-Authenticate', 429: 'Retry-After', 503: 'Retry-After' }

test('keys are declared where keys are taken, and what an answer says besides its body', () => {
  for (const operation of Object.values(openApi.paths).flatMap((methods) => Object.values(methods))) {
    const { security, description, responses } = operation as unknown as {
      security: object[]
      description: string
      responses: Record<string, { headers?: object; content?: object }>
    }
    const takesKeys = description.includes('An API key needs the scope')
    const isDeclared = security.some((scheme) => 'apiKey' in scheme)
    expect(isDeclared, operation.operationId).toBe(takesKeys)
    for (const [status, header] of Object.entries(headers)) {
      const response = responses[status]
      // Readiness has a 503 of its own.
      if (response && !('application/json' in (response.content ?? {})))
        expect(Object.keys(response.headers ?? {}), operation.operationId).toEqual([header])
    }
  }
})

test('the page may load and run nothing but its own', async () => {
  const page = await createClient().request<string>('GET', '/docs')
  const policy = page.headers.get('content-security-policy') ?? ''
  expect(policy).toMatch(/default-src 'none'/)
  const scripts = /script-src ([^;]+)/.exec(policy)?.[1]
  const [, inline = ''] = /<script>(.*)<\/script>/s.exec(page.body) ?? []
  expect(scripts).toBe(`'self' 'sha256-${hash('sha256', inline, 'base64')}'`)
})

test('the document describes every operation and tag, its licence, and the form of an upload', () => {
  const { info, tags, paths } = openApi as typeof openApi & {
    info: object
    tags: { name: string; description: string }[]
  }
  expect(info).toMatchObject({ license: { name: 'MIT', url: expect.any(String) } })
  const operations = Object.values(paths).flatMap((methods) => Object.values(methods))
  for (const operation of operations) {
    expect(operation, operation.operationId).toMatchObject({ description: expect.stringMatching(/[\w`]\.$/) })
  }
  const used = new Set(operations.flatMap((operation) => (operation as unknown as { tags: string[] }).tags))
  expect(tags.map(({ name }) => name).toSorted()).toEqual([...used].toSorted())
  for (const tag of tags) expect(tag.description).toMatch(/\w\.$/)
  const upload = paths['/api/v1/assets/upload']?.post?.requestBody?.content['multipart/form-data']
  expect(upload?.schema).toMatchObject({ properties: { file: { type: 'string' } }, required: ['file'] })
})

/** Every example below a part of the document, with where it stands and what it is one of. */
const examplesIn = (part: unknown, where: string): { where: string; schema: Json; example: unknown }[] => {
  if (typeof part !== 'object' || part === null) return []
  const { example, ...rest } = part as Json
  // Beside the schema, or in it; below `properties` it is a field's name.
  const isOne = example !== undefined && !where.endsWith('/properties')
  const own = isOne ? [{ where, schema: (rest.schema ?? rest) as Json, example }] : []
  return [...own, ...Object.entries(rest).flatMap(([key, value]) => examplesIn(value, `${where}/${key}`))]
}

test('every JSON body has an example, and all examples keep their schemas', () => {
  for (const operation of Object.values(openApi.paths).flatMap((methods) => Object.values(methods))) {
    const body = operation.requestBody?.content['application/json']
    if (body) expect(body.example, operation.operationId).toBeDefined()
  }
  const examples = examplesIn(openApi, '#')
  const named = ['Asset', 'GenerationEvent', 'Problem', 'WebhookMessage']
  expect(examples.map(({ where }) => where)).toEqual(
    expect.arrayContaining([
      ...named.map((name) => `#/components/schemas/${name}`),
      '#/components/schemas/Generation/properties/outputs/items',
    ]),
  )
  for (const { where, schema, example } of examples) checkSchema(`example of ${where}`, schema, example)
})

test('no field of a body has a default in the document, which generators would take for required', () => {
  const walk = (schema: unknown): unknown[] =>
    typeof schema !== 'object' || schema === null
      ? []
      : Object.entries(schema).flatMap(([key, value]) => [
          ...(key === 'properties'
            ? Object.values(value as Json).filter((field) => 'default' in (field as Json))
            : []),
          ...walk(value),
        ])
  expect(walk(openApi)).toEqual([])
  expect(openApi.webhooks).toMatchObject({ generation: { post: { operationId: 'webhook.message' } } })
})

test('preflight allows exactly the methods that some route has', async () => {
  const headers = { origin: 'http://localhost:3000', 'access-control-request-method': 'PATCH' }
  const answer = await fetch(`${stack.api}/api/v1/usage`, { method: 'OPTIONS', headers })
  const declared = new Set(routes.map(({ method }) => method))
  expect(answer.headers.get('access-control-allow-methods')?.split(',').toSorted()).toEqual(
    [...declared, 'HEAD'].toSorted(),
  )
})

test('answers 404 to a file name that only resembles one of its own', async () => {
  expect((await createClient().request('GET', '/docs/swagger-uiXcss')).status).toBe(404)
})
