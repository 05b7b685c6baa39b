/** The reference of the API as a page, and the files that it loads. */
import { expect, test } from 'vitest'
import { createClient } from '../support/client.ts'
import { openApi } from '../support/contract.ts'
import { stack } from '../support/control.ts'

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

test('answers 404 to a file name that only resembles one of its own', async () => {
  expect((await createClient().request('GET', '/docs/swagger-uiXcss')).status).toBe(404)
})
