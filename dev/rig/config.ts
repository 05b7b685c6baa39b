/** What `workerd serve` is told: the bundle with the bindings of wrangler.toml, as Cap'n Proto text. */
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { isAbsolute, join, parse } from 'node:path'
import { promisify } from 'node:util'
import type { Unstable_Config } from 'wrangler'

/** Writes what `wrangler deploy` would upload. */
export const bundle = async (project: string, directory: string): Promise<void> => {
  const wrangler = join(project, 'node_modules/wrangler/bin/wrangler.js')
  await promisify(execFile)(process.execPath, [wrangler, 'deploy', '--dry-run', '--outdir', directory], {
    cwd: project,
  })
}

export interface ConfigOptions {
  /** Where the files of `assets` are. */
  project: string
  config: Pick<
    Unstable_Config,
    | 'main'
    | 'compatibility_date'
    | 'compatibility_flags'
    | 'vars'
    | 'assets'
    | 'images'
    | 'send_email'
    | 'queues'
    | 'durable_objects'
  >
  /** A folder that `bundle` filled. */
  bundle: string
  settings: Record<string, string>
  brokerPort: number
  imagesPort: number
  mailPort: number
  /** Whether the harness hears of every invocation, and so of exceptions. */
  traced: boolean
  /** Where Durable Objects live: in a folder of this process, or, by class, behind the debug port of another. */
  objects: { folder?: string; elsewhere: Record<string, string> }
}

type Assets = Unstable_Config['assets']

const SERVICE = 'worker'
const NAMESPACE = 'rig:namespace'
const EMAIL = 'rig:email'

export const makeConfig = (options: ConfigOptions): string => {
  const { config, settings, brokerPort, imagesPort, mailPort, objects } = options
  const {
    compatibility_date: compatibilityDate = '',
    compatibility_flags: compatibilityFlags,
    assets,
    images,
    send_email: emails = [],
  } = config
  const runtime = { compatibilityDate, compatibilityFlags }
  const namespaces = config.durable_objects.bindings
  const producers = config.queues.producers ?? []
  const entry = `${parse(config.main ?? '').name}.js`
  const modules = readdirSync(options.bundle)
    .filter((name) => /\.(js|wasm)$/.test(name))
    // The first one is the entry.
    .sort((a, b) => Number(b === entry) - Number(a === entry))
    .map((name) => ({
      name,
      [name.endsWith('.wasm') ? 'wasm' : 'esModule']: new Embedded(join(options.bundle, name)),
    }))

  const bindNamespace = ({ name, class_name: className }: (typeof namespaces)[number]) => {
    const address = objects.elsewhere[className]
    if (!address) return { name, durableObjectNamespace: className }
    const innerBindings = [
      { name: 'local', durableObjectNamespace: className },
      { name: 'port', workerdDebugPort: null },
      { name: 'address', text: address },
      { name: 'service', text: SERVICE },
      { name: 'className', text: className },
    ]
    return { name, wrapped: { moduleName: NAMESPACE, innerBindings } }
  }
  const variables = Object.entries({ ...config.vars, ...settings })
  const worker = {
    modules,
    ...runtime,
    bindings: [
      ...variables.map(([name, value]) => ({ name, text: String(value) })),
      ...producers.map(({ binding, queue }) => ({ name: binding, queue: `queue ${queue}` })),
      ...namespaces.map(bindNamespace),
      ...(images ? [bindImages(images)] : []),
      ...emails.map(({ name }) => ({
        name,
        wrapped: { moduleName: EMAIL, innerBindings: [{ name: 'service', service: 'mail' }] },
      })),
      ...(assets ? [{ name: assets.binding, service: { name: 'assets', entrypoint: 'AssetWorker' } }] : []),
    ],
    durableObjectNamespaces: namespaces.map(({ class_name: className }) => ({
      className,
      uniqueKey: className,
      enableSql: true,
    })),
    durableObjectStorage: objects.folder ? { localDisk: 'objects' } : { inMemory: null },
    tails: options.traced ? ['harness'] : [],
  }
  const harness = {
    modules: [{ name: 'harness.js', esModule: new Embedded(join(import.meta.dirname, 'harness.js')) }],
    compatibilityDate,
    compatibilityFlags: ['service_binding_extra_handlers', 'unsafe_module'],
    bindings: [
      { name: 'WORKER', service: SERVICE },
      ...namespaces
        .filter(({ class_name: className }) => !objects.elsewhere[className])
        .map(({ name, class_name: className }) => ({
          name,
          durableObjectNamespace: { className, serviceName: SERVICE },
        })),
    ],
  }
  const bindQueue = (queue: string) => ({
    address: `127.0.0.1:${brokerPort}`,
    http: { injectRequestHeaders: [{ name: 'x-queue', value: queue }] },
  })
  const root = {
    services: [
      { name: SERVICE, worker },
      { name: 'harness', worker: harness },
      { name: 'internet', network: { allow: ['public', 'private'] } },
      ...producers.map(({ queue = '' }) => ({ name: `queue ${queue}`, external: bindQueue(queue) })),
      ...(images ? [{ name: 'images', external: { address: `127.0.0.1:${imagesPort}`, http: {} } }] : []),
      { name: 'mail', external: { address: `127.0.0.1:${mailPort}`, http: {} } },
      ...(assets
        ? [{ name: 'assets', assets: { ...serveAssets(options.project, assets), ...runtime } }]
        : []),
      ...(objects.folder ? [{ name: 'objects', disk: { path: objects.folder, writable: true } }] : []),
    ],
    sockets: [
      // The caller's country and the like, as a test may say it.
      { name: 'api', address: '127.0.0.1:0', http: { cfBlobHeader: 'x-cf' }, service: SERVICE },
      { name: 'harness', address: '127.0.0.1:0', http: {}, service: 'harness' },
    ],
    extensions: [
      {
        modules: [
          {
            name: NAMESPACE,
            internal: true,
            esModule: new Embedded(join(import.meta.dirname, 'namespace.js')),
          },
          { name: EMAIL, internal: true, esModule: new Embedded(join(import.meta.dirname, 'email.js')) },
        ],
      },
    ],
    logging: { structuredLogging: true },
  }
  return `using Workerd = import "/workerd/workerd.capnp";\nconst config :Workerd.Config = ${toCapnp(root)};\n`
}

const bindImages = ({ binding }: { binding: string }) => ({
  name: binding,
  wrapped: {
    moduleName: 'cloudflare-internal:images-api',
    innerBindings: [{ name: 'fetcher', service: 'images' }],
  },
})

const serveAssets = (
  project: string,
  { directory = '', html_handling, not_found_handling }: NonNullable<Assets>,
) => ({
  path: isAbsolute(directory) ? directory : join(project, directory),
  config: JSON.stringify({ html_handling, not_found_handling }),
})

/** A file whose text becomes the value. */
class Embedded {
  readonly path: string
  constructor(path: string) {
    this.path = path
  }
}

/** Cap'n Proto's text form; null is its `void`. */
const toCapnp = (value: unknown): string => {
  if (value === null) return 'void'
  if (value instanceof Embedded) return `embed ${JSON.stringify(value.path)}`
  if (Array.isArray(value)) return `[${value.map(toCapnp).join(',\n')}]`
  if (typeof value !== 'object') return JSON.stringify(value)
  return `(${Object.entries(value)
    .map(([name, field]) => `${name} = ${toCapnp(field)}`)
    .join(', ')})`
}
