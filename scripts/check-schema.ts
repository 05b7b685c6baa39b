/** Fails when a migration is missing: src/db/schema.ts differs from the newest snapshot of the migrations. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { generateDrizzleJson } from 'drizzle-kit/api'
import * as schema from '../src/db/schema.ts'

const META = join(import.meta.dirname, '..', 'migrations', 'meta')

/** Tables and everything else by name, from drizzle-kit's JSON; the ids differ in any case. */
const parse = (json: string): Record<string, unknown> => {
  const { id: _, prevId: __, tables, ...others } = JSON.parse(json)
  return { ...tables, ...others }
}

const newest = readdirSync(META)
  .filter((name) => name.endsWith('_snapshot.json'))
  .sort()
  .at(-1)
if (!newest) throw new Error(`there is no snapshot in ${META}`)
const migrated = parse(readFileSync(join(META, newest), 'utf8'))
const declared = parse(JSON.stringify(generateDrizzleJson(schema)))
const names = new Set([...Object.keys(migrated), ...Object.keys(declared)])
const changed = [...names].filter((name) => !isDeepStrictEqual(migrated[name], declared[name]))
if (changed.length > 0) {
  console.error(
    `src/db/schema.ts and migrations/ differ in ${changed.join(', ')}: write the migration with npm run db:generate`,
  )
  process.exitCode = 1
}
