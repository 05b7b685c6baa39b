/**
 * Builds the Worker into `dist`, for wrangler: an entry, and a chunk for each part that is loaded, and compiled, when it is
 * first needed. What nobody uses is left out.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build, type Plugin } from 'esbuild'

const PROJECT = join(import.meta.dirname, '..')
const OUT = join(PROJECT, 'dist')

/**
 * What zod exports as parts of one object, and so would come along: its messages in fifty languages (English is a module of
 * its own), a reader of JSON Schema, and a compiler to code, which the platform forbids.
 */
const withoutExtras: Plugin = {
  name: 'without-extras',
  setup({ onLoad }) {
    const unused = /\/zod\/v4\/(locales\/index|classic\/from-json-schema|core\/compile)\.js$/
    onLoad({ filter: unused }, ({ path }) => {
      const names = readFileSync(path, 'utf8').matchAll(/^export (?:const|function|class) (\w+)/gm)
      return { contents: [...names].map(([, name]) => `export const ${name} = undefined`).join('\n') }
    })
  },
}

/**
 * Certificates of passkeys: nobody asks for any, so none is accepted (src/auth/factors/passkeys.ts), and what would check
 * them is a tenth of everything.
 */
const withoutCertificates: Plugin = {
  name: 'without-certificates',
  setup({ onLoad }) {
    onLoad({ filter: /\/node_modules\/@peculiar\/(x509|asn1-android)\/.*\.m?js$/ }, () => ({
      contents: 'module.exports = {}',
    }))
  },
}

const { outputFiles } = await build({
  absWorkingDir: PROJECT,
  entryPoints: ['src/worker.ts'],
  outdir: OUT,
  write: false,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'neutral',
  target: 'es2024',
  mainFields: ['workerd', 'browser', 'module', 'main'],
  conditions: ['workerd', 'worker', 'browser'],
  external: ['node:*', 'cloudflare:*'],
  plugins: [withoutExtras, withoutCertificates],
  minify: true,
  sourcemap: 'linked',
  logLevel: 'warning',
})

// Names tell contents: whoever runs what another build has made finds it unchanged.
mkdirSync(OUT, { recursive: true })
for (const { path, contents } of outputFiles) {
  if (!existsSync(path) || !readFileSync(path).equals(contents)) writeFileSync(path, contents)
}
const made = new Set(outputFiles.map(({ path }) => path))
for (const name of readdirSync(OUT)) if (!made.has(join(OUT, name))) rmSync(join(OUT, name))
