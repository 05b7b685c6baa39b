/**
 * Writes what is generated from the code: client/openapi.json, and docs/api.md with the tables of routes and rate
 * limits. With `--check` it fails if they are not up to date.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { planFactors, policies } from '../src/limits/policies.ts'

// By URL: the Worker's types and Node's do not mix in one program.
const source = (file: string) => import(new URL(`../src/${file}`, import.meta.url).href)
const { app } = await source('app.ts')
const { openApiOf } = await source('http/docs.ts')

interface Operation {
  operationId: string
  summary: string
  tags: string[]
  security: unknown[]
  'x-role'?: string
  'x-limits'?: string[]
}

const document: { paths: Record<string, Record<string, Operation>> } = openApiOf(
  app,
  'https://api.example.com',
)

const cells = (values: readonly string[]) => `| ${values.join(' | ')} |`
const table = (head: readonly string[], rows: readonly (readonly string[])[]) =>
  [cells(head), cells(head.map(() => '---')), ...rows.map(cells)].join('\n')

const who = ({ security, 'x-role': role }: Operation) => {
  if (security.length === 0) return 'anybody'
  return role ?? 'signed in'
}

const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
)
const byTag = Map.groupBy(routes, ({ operation }) => operation.tags[0] ?? '')
const routeTables = [...byTag].map(
  ([tag, group]) =>
    `### ${tag}\n\n${table(
      ['route', 'what it does', 'who', 'limits', 'action'],
      group.map(({ method, path, operation }) => [
        `\`${method} ${path.replace('/api/v1', '')}\``,
        operation.summary,
        who(operation),
        (operation['x-limits'] ?? []).join(', '),
        `\`${operation.operationId}\``,
      ]),
    )}`,
)

const subjects = {
  ip: 'IP (IPv6: /64)',
  email: 'e-mail address',
  caller: 'user or key',
  workspace: 'workspace',
}
const limitTable = table(
  ['policy', 'requests', 'per', 'counted by', 'plans', 'without the limiter'],
  Object.entries(policies).map(([name, { limit, period, by, perPlan, unreachable }]) => [
    name,
    limit.toLocaleString('en'),
    period === 3600 ? 'hour' : 'minute',
    subjects[by],
    perPlan
      ? Object.entries(planFactors)
          .map(([plan, factor]) => `${plan} ×${factor}`)
          .join(', ')
      : '',
    unreachable === 'pass' ? 'requests pass' : 'requests are refused',
  ]),
)

const files = {
  'client/openapi.json': `${JSON.stringify(document, null, 2)}\n`,
  'docs/api.md': `# The API

Generated from the code by \`npm run docs\`. The reference with all schemas is \`GET /docs\` of a running API, or
[client/openapi.json](../client/openapi.json).

## Routes

Below \`/api/v1\`, but for health and keys. \`who\` is the least role in the workspace. Every route for a signed-in caller
also counts for the limit \`api\`.

${routeTables.join('\n\n')}

## Rate limits

${limitTable}
`,
}

const stale = Object.entries(files).filter(([name, text]) => {
  const path = resolve(import.meta.dirname, '..', name)
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return false
  if (process.argv.includes('--check')) return true
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
  return false
})
if (stale.length > 0) {
  console.error(`${stale.map(([name]) => name).join(' and ')}: not up to date; run npm run docs`)
  process.exitCode = 1
}
