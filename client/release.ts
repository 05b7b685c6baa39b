/**
 * `npm run release -w client`: builds the package, checks that it is one (exports and types by publint, consumers of several
 * TypeScripts, size in a bundle, an entry in the changelog), and packs it into out/. Nothing is published from here.
 */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { version as oldTypeScript } from 'typescript'

const HERE = import.meta.dirname
const OUT = join(HERE, 'out')
/** Bytes of all of it in a browser's bundle, gzipped. */
export const LIMIT = 12_000

const run = async (command: string, args: string[], cwd = HERE): Promise<string> => {
  try {
    return (await promisify(execFile)(command, args, { cwd, maxBuffer: 1e8 })).stdout
  } catch (error) {
    // What compilers complain of goes to standard output.
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
    throw new Error(`${command} ${args.join(' ')}:\n${stdout}${stderr}`, { cause: error })
  }
}
/** TypeScript's, of the project and of the version that the generator needs. */
const compilers = {
  current: join(HERE, '../node_modules/typescript/bin/tsc'),
  [oldTypeScript]: join(HERE, 'node_modules/typescript/bin/tsc'),
}

/** Modules, types and source maps, in dist/. */
const compile = async (): Promise<void> => {
  const dist = join(HERE, 'dist')
  await rm(dist, { recursive: true, force: true })
  await run(process.execPath, [compilers.current, '-p', HERE])
  // Types are left with the names of the sources, which not every tool resolves.
  for (const name of await readdir(dist)) {
    if (!name.endsWith('.d.ts')) continue
    const path = join(dist, name)
    await writeFile(path, (await readFile(path, 'utf8')).replace(/(from '\.\/\w+)\.ts'/g, "$1.js'"))
  }
}

/** Bytes of the whole package, bundled and minified for browsers. */
export const sizeOf = async () => {
  const { outputFiles, metafile } = await build({
    entryPoints: [join(HERE, 'src/index.ts')],
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    write: false,
    metafile: true,
  })
  const outside = Object.keys(metafile.inputs).filter((path) => path.includes('node_modules'))
  const bytes = outputFiles[0]?.contents ?? new Uint8Array()
  return { minified: bytes.length, gzipped: gzipSync(bytes, { level: 9 }).length, outside }
}

/** What a user's compiler has to accept, and what it has to refuse. */
const CONSUMER = `import { type Asset, MerchantClient, verifyWebhook } from '@merchant-content/client'
const client = new MerchantClient({ baseUrl: 'https://api.example.com', apiKey: 'mck_x' })
export const name = async (): Promise<string> => (await client.get('/assets/{id}', { path: { id: 'x' } })).name
export const first = async (): Promise<Asset | undefined> => {
  for await (const asset of client.list('/assets', { query: { kind: 'image' } })) return asset
  return undefined
}
export const job = client.generations.run({ task: 'scene', prompt: 'x' })
export const verify = verifyWebhook
// @ts-expect-error There is no such task.
export const wrong = client.post('/generations', { body: { task: 'sing' } })
`

/** A folder in which the packed package is installed. @returns the folder; its caller removes it */
export const installed = async (tarball: string): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'merchant-client-'))
  const place = join(folder, 'node_modules/@merchant-content/client')
  await mkdir(place, { recursive: true })
  await run('tar', ['-xzf', tarball, '-C', place, '--strip-components=1'])
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }\n')
  return folder
}

const checkConsumers = async (tarball: string): Promise<void> => {
  const folder = await installed(tarball)
  try {
    await writeFile(join(folder, 'consumer.ts'), CONSUMER)
    for (const [version, compiler] of Object.entries(compilers)) {
      for (const [module, moduleResolution] of [
        ['NodeNext', 'NodeNext'],
        ['ESNext', 'Bundler'],
      ] as const) {
        const flags = ['--strict', '--noEmit', '--target', 'es2022', '--lib', 'es2022,dom,dom.iterable']
        const mode = ['--module', module, '--moduleResolution', moduleResolution]
        await run(process.execPath, [compiler, ...flags, ...mode, 'consumer.ts'], folder)
        console.log(`  types: TypeScript ${version}, ${moduleResolution}`)
      }
    }
    const script = `const { MerchantClient } = await import('@merchant-content/client'); new MerchantClient({ baseUrl: 'http://x' })`
    await run(process.execPath, ['--input-type=module', '--eval', script], folder)
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** Builds and packs into a folder. @returns the tarball @throws when it is no good package */
export const pack = async (folder: string): Promise<string> => {
  await compile()
  await mkdir(folder, { recursive: true })
  const [packed] = JSON.parse(await run('npm', ['pack', '--json', '--pack-destination', folder]))
  const tarball = join(folder, packed.filename)
  const { messages, pkg } = await publint({ pkgDir: HERE, strict: true })
  if (messages.length > 0) throw new Error(messages.map((one) => formatMessage(one, pkg)).join('\n'))
  return tarball
}

const main = async (): Promise<void> => {
  const { version } = JSON.parse(await readFile(join(HERE, 'package.json'), 'utf8'))
  const changelog = await readFile(join(HERE, 'CHANGELOG.md'), 'utf8')
  if (!changelog.includes(`## ${version}`)) throw new Error(`CHANGELOG.md says nothing of ${version}`)
  const { minified, gzipped, outside } = await sizeOf()
  if (outside.length > 0) throw new Error(`a bundle takes in ${outside.join(', ')}`)
  if (gzipped > LIMIT) throw new Error(`${gzipped} bytes gzipped are more than ${LIMIT}`)
  const tarball = await pack(OUT)
  await checkConsumers(tarball)
  console.log(`  in a bundle: ${minified} bytes, ${gzipped} gzipped (${LIMIT} at most), nothing of others`)
  console.log(`  ${tarball}`)
}

if (import.meta.main) {
  await main().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 1
  })
}
