/**
 * Writes what is generated from the code: client/openapi.json and its types, and docs/api.md with the tables of routes, rate limits
 * and errors. With `--check` it fails if they are not up to date, or if a document names what does not exist.
 */
import { existsSync, globSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { typesOf } from '../client/generate.ts'
import { actions, keyScopes } from '../src/actions.ts'
import { errorCodes, statusOf } from '../src/errors.ts'
import { planFactors, policies } from '../src/limits/policies.ts'

// By URL: the Worker's types and Node's do not mix in one program.
const source = (file: string) => import(new URL(`../src/${file}`, import.meta.url).href)
const { loadAll } = await source('app.ts')
const { openApiOf } = await source('http/docs.ts')

interface Operation {
  operationId: string
  summary: string
  tags: string[]
  security: unknown[]
  'x-role'?: string
  'x-limits'?: string[]
  'x-step-up'?: boolean
}

const document: { paths: Record<string, Record<string, Operation>> } = openApiOf(
  await loadAll(),
  'https://api.example.com',
)

const cells = (values: readonly string[]) => `| ${values.join(' | ')} |`
const table = (head: readonly string[], rows: readonly (readonly string[])[]) =>
  [cells(head), cells(head.map(() => '---')), ...rows.map(cells)].join('\n')

const actionNames = new Set<string>(actions)
const scopes = new Set<string>(keyScopes)

const who = ({ security, operationId, 'x-role': role, 'x-step-up': stepUp }: Operation) => {
  if (security.length === 0) return 'anybody'
  return `${role ?? 'signed in'}${scopes.has(operationId) ? ' or key' : ''}${stepUp ? ', step-up' : ''}`
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
        actionNames.has(operation.operationId) ? `\`${operation.operationId}\`` : '',
      ]),
    )}`,
)

const subjects = {
  ip: 'IP (IPv6: /64)',
  email: 'e-mail address',
  'ip and email': 'IP and e-mail address',
  device: 'device that has signed in before',
  'device-ip': 'IP of such devices',
  user: 'user',
  caller: 'user or key',
  workspace: 'workspace',
}
/** A period of so many seconds, in words. */
const spell = (seconds: number) =>
  ({ 60: 'minute', 3600: 'hour', 86400: 'day' })[seconds] ?? `${seconds} seconds`

const limitTable = table(
  ['policy', 'requests', 'per', 'counted by', 'plans', 'without the limiter'],
  Object.entries(policies).map(([name, { limit, period, by, perPlan, unreachable }]) => [
    name,
    limit.toLocaleString('en'),
    spell(period),
    subjects[by],
    perPlan
      ? Object.entries(planFactors)
          .map(([plan, factor]) => `${plan} ×${factor}`)
          .join(', ')
      : '',
    unreachable === 'pass' ? 'requests pass' : 'requests are refused',
  ]),
)

const errorTable = table(
  ['status', 'codes'],
  [...Map.groupBy(errorCodes, statusOf)]
    .sort()
    .map(([status, codes]) => [String(status), codes.map((code) => `\`${code}\``).join(', ')]),
)

const files = {
  'client/openapi.json': `${JSON.stringify(document, null, 2)}\n`,
  'client/src/openapi.ts': await typesOf(document),
  'docs/api.md': `# The API

Generated from the code by \`npm run docs\`. The reference with all schemas is \`GET /docs\` of a running API, or
[client/openapi.json](../client/openapi.json).

## Routes

Below \`/api/v1\`, but for health and keys. \`who\` is the least role in the workspace; \`or key\`: an API key may, if the
action is one of its scopes; \`step-up\`: whoever proved themselves within the last 15 minutes (\`POST /auth/step-up\`). Every route for a signed-in caller also counts for the limit \`api\` (a key that was not seen in force
lately: for \`key-ip\`, until it is), and an upload for the limit \`upload\` as soon as the workspace's plan is known. Not in the document:
\`POST /providers/replicate/webhook\` and \`POST /providers/fal/webhook\`, which these call.

${routeTables.join('\n\n')}

## Rate limits

${limitTable}

## Errors

Problem details (RFC 9457) with one of these codes.

${errorTable}
`,
}

const ROOT = resolve(import.meta.dirname, '..')
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const stale = Object.entries(files).filter(
  ([path, text]) => !existsSync(join(ROOT, path)) || read(path) !== text,
)

/** Links, paths and npm scripts of a document that lead nowhere. */
const findDeadNames = (path: string): string[] => {
  const text = read(path)
  const scriptsOf = (file: string) => Object.keys(JSON.parse(read(file)).scripts)
  const scripts = [...scriptsOf('package.json'), ...scriptsOf('client/package.json')]
  const matches = (pattern: RegExp) => [...text.matchAll(pattern)].map(([, name = '']) => name)
  const paths = [
    ...matches(/\]\(([^)#:]+)(?:#[^)]*)?\)/g).map((link) => join(dirname(path), link)),
    ...matches(/`((?:src|dev|test|models|scripts|migrations|docs|client)\/[\w./-]*)`/g),
  ]
  return [
    ...paths.filter((name) => !existsSync(join(ROOT, name))),
    ...matches(/npm run ([\w:]+)/g).filter((script) => !scripts.includes(script)),
  ].map((name) => `${path} names ${name}, which does not exist`)
}

/** Folders of the source that the tour leaves out. */
const findUntold = (): string[] =>
  readdirSync(join(ROOT, 'src'), { withFileTypes: true })
    .map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
    .filter((name) => !read('docs/architecture.md').includes(` ${name}`))
    .map((name) => `docs/architecture.md does not name src/${name}`)

if (process.argv.includes('--check')) {
  const problems = [
    ...stale.map(([path]) => `${path} is not up to date: run npm run docs`),
    ...globSync(['*.md', 'client/*.md', 'docs/**/*.md'], { cwd: ROOT }).flatMap(findDeadNames),
    ...findUntold(),
  ]
  for (const problem of problems) console.error(problem)
  if (problems.length > 0) process.exitCode = 1
} else {
  for (const [path, text] of stale) {
    mkdirSync(dirname(join(ROOT, path)), { recursive: true })
    writeFileSync(join(ROOT, path), text)
  }
}
