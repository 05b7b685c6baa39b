/**
 * The edge rig: the bundle that would be deployed, on bare `workerd`, in several processes behind one address that
 * share database, storage, model server, queues and Durable Objects, with distance and faults on every link.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { unstable_readConfig } from 'wrangler'
import { freePort } from '../child.ts'
import { startMailService } from '../inbox.ts'
import { PROJECT } from '../stack.ts'
import { bucketUrl, fallbackUrl, startStorage } from '../storage.ts'
import { type Consumer, type QueueResult, startBroker } from './broker.ts'
import { bundle, type ConfigOptions, makeConfig } from './config.ts'
import { startImages } from './images.ts'
import { startLink } from './link.ts'
import { createWorkerd, type Workerd } from './process.ts'

export interface RigOptions {
  /** API processes; 2 when not given. */
  processes?: number
  /** Whether one API process has the Durable Objects itself, but for those that hash; false when not given. */
  alone?: boolean
  /** Another checkout of this project, with its dependencies: its bundle, configuration, database and model server. */
  project?: string
  /** Whether there is a second storage, behind a link of its own; false when not given. */
  fallback?: boolean
  /** Vars and secrets that differ from the local stack's. */
  settings?: Record<string, string>
  /** Consumers' settings that differ from wrangler.toml's, by queue. */
  consumers?: Record<string, Partial<Consumer>>
  /** Whether the hour's cron runs by itself; true when not given. */
  cron?: boolean
  /** Whether uncaught exceptions are told of, which costs processor time; true when not given. */
  traced?: boolean
  /** Whether the API's processes have V8's inspector. */
  inspect?: boolean
}

export type Rig = Awaited<ReturnType<typeof startRig>>

const CRON = '0 * * * *'
/** Milliseconds. */
const HOUR = 3_600_000

/** Everything up when it resolves; nothing is kept. */
export const startRig = async (options: RigOptions = {}) => {
  const undo: (() => unknown)[] = []
  const stop = async () => {
    for (const step of undo.splice(0).reverse()) {
      // What can't be stopped must not keep the rest running.
      await Promise.resolve().then(step).catch(console.error)
    }
  }
  try {
    return { ...(await setUp(options, undo)), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** The same bucket behind the link, which reaches this machine only; further ones are reached without. */
const atLink = (bucket: URL, origin: string) =>
  bucket.hostname === '127.0.0.1' ? bucket.href.replace(bucket.origin, origin) : bucket.href

/** Whatever runs in one process waits for its one thread, and so for each hash. */
const homeOf = (className?: string) => (className === 'Hasher' ? 'hashers' : 'objects')

interface Tools {
  folder: (name: string) => string
  link: typeof startLink
  undo: (() => unknown)[]
}

/** The API's processes, and those in which the Durable Objects live. */
const startProcesses = async (
  options: RigOptions,
  { folder, link, undo }: Tools,
  parts: Omit<ConfigOptions, 'objects'>,
) => {
  const create = (name: string, objects: ConfigOptions['objects']) => {
    const worker = createWorkerd({
      name,
      directory: folder(name),
      config: makeConfig({ ...parts, objects }),
      debugPort: objects.folder !== undefined,
      inspect: options.inspect === true && !objects.folder,
    })
    undo.push(worker.stop)
    return worker
  }
  const namespaces: { name: string; class_name: string }[] = parts.config.durable_objects.bindings
  const classes = namespaces.map(({ class_name: className }) => className)
  const homes: Record<string, Workerd> = {}
  const objects = await link(() => [homes.objects?.port('debug-port') ?? 0])
  const hashers = await link(() => [homes.hashers?.port('debug-port') ?? 0])
  const ports = { objects: objects.port, hashers: hashers.port }
  const elsewhere = (here?: string) =>
    Object.fromEntries(
      classes.flatMap((name) => (homeOf(name) === here ? [] : [[name, `127.0.0.1:${ports[homeOf(name)]}`]])),
    )
  for (const name of new Set(classes.map(homeOf))) {
    homes[name] = create(name, { folder: folder(`${name}-storage`), elsewhere: elsewhere(name) })
  }
  const api =
    options.alone && homes.objects
      ? [homes.objects]
      : Array.from({ length: options.processes ?? 2 }, (_, i) =>
          create(`api-${i + 1}`, { elsewhere: elsewhere() }),
        )
  const all = [...new Set([...Object.values(homes), ...api])]
  await Promise.all(all.map((worker) => worker.start()))
  const processOf = (name: string) => {
    const found = all.find((worker) => worker.name === name)
    if (!found) throw new Error(`no process ${name}`)
    return found
  }
  const hostOf = (binding: string) =>
    processOf(homeOf(namespaces.find(({ name }) => name === binding)?.class_name))
  return { api, all, processOf, hostOf, objects, hashers }
}

const setUp = async (options: RigOptions, undo: (() => unknown)[]) => {
  process.env.WRANGLER_SEND_METRICS = 'false'
  const directory = mkdtempSync(join(tmpdir(), 'content-api-rig-'))
  undo.push(() => rmSync(directory, { recursive: true, force: true }))
  // PostgreSQL refuses to run as root, so its own user must get in.
  chmodSync(directory, 0o755)
  const folder = (name: string) => {
    const path = join(directory, name)
    mkdirSync(path)
    return path
  }
  const link = async (...parameters: Parameters<typeof startLink>) => {
    const started = await startLink(...parameters)
    undo.push(started.stop)
    return started
  }
  const project = options.project ?? PROJECT
  const config = unstable_readConfig({ config: join(project, 'wrangler.toml') }, { hideWarnings: true })

  const workers: Workerd[] = []
  /** Answers those that run, each time another one first. */
  const takeTurns = () => {
    let turn = 0
    return () => {
      const running = workers.filter((worker) => worker.runs())
      const first = turn++ % Math.max(1, running.length)
      return [...running.slice(first), ...running.slice(0, first)]
    }
  }
  const [forClients, forEvents] = [takeTurns(), takeTurns()]
  const clients = await link(() => forClients().map((worker) => worker.port('api')))

  const bundleFolder = folder('bundle')
  const building = bundle(project, bundleFolder)
  /** Another S3 than the local stack's, with the same credentials. */
  const outside = process.env.TEST_S3_ENDPOINT ? new URL(process.env.TEST_S3_ENDPOINT) : undefined
  let storagePort = 0
  const storage = await link(() => [storagePort])
  const fallback = await link(() => [storagePort])
  // `as`: the file of another checkout.
  const { startStack } = (await import(join(project, 'dev/stack.ts'))) as typeof import('../stack.ts')
  const starting = startStack({
    dataDir: folder('data'),
    databaseUrl: process.env.DATABASE_URL,
    throwAway: true,
    publicUrl: clients.origin,
    s3Endpoint: outside ? atLink(outside, storage.origin) : bucketUrl(Number(new URL(storage.origin).port)),
    log: () => undefined,
  })
  // All at once; a failure is thrown when nothing starts any more.
  await Promise.allSettled([building, starting])
  const stack = await starting
  undo.push(stack.stop)
  await building
  if (outside) storagePort = Number(outside.port)
  else {
    storagePort = await freePort()
    const files = await startStorage({
      port: storagePort,
      dataDir: folder('storage'),
      settings: stack.settings,
    })
    undo.push(files.stop)
  }

  const preparing = await startImages()
  undo.push(preparing.stop)
  const images = await link(() => [preparing.port])

  const mail = await startMailService()
  undo.push(mail.stop)
  const mails = await link(() => [mail.port])

  const gateway = new URL(stack.database.gatewayUrl)
  const database = await link(() => [Number(gateway.port)])
  // The model server names its files by its own address; they, too, are fetched over the link.
  const { origin } = stack.models
  const models = await link(
    () => [Number(new URL(origin).port)],
    (own) => ({ from: origin, to: own }),
  )
  const overLinks = (value: string) =>
    value.replace(gateway.origin, database.origin).replace(origin, models.origin)
  const second = options.fallback && {
    S3_FALLBACK_ENDPOINT: fallbackUrl(fallback.port),
    S3_FALLBACK_ACCESS_KEY_ID: stack.settings.S3_ACCESS_KEY_ID ?? '',
    S3_FALLBACK_SECRET_ACCESS_KEY: stack.settings.S3_SECRET_ACCESS_KEY ?? '',
  }
  const settings = Object.fromEntries(
    Object.entries({ ...stack.settings, ...second, IMAGES_URL: images.origin, ...options.settings }).map(
      ([name, value]) => [name, overLinks(value)],
    ),
  )

  const consumers = config.queues.consumers ?? []
  const broker = await startBroker(
    consumers.map((consumer: Consumer) => ({ ...consumer, ...options.consumers?.[consumer.queue] })),
    () => {
      const [worker] = forEvents()
      if (!worker) return undefined
      const { name, event } = worker
      return { name, deliver: (queue, messages) => event<QueueResult>('/queue', { queue, messages }) }
    },
  )
  undo.push(broker.stop)

  const { api, all, processOf, hostOf, objects, hashers } = await startProcesses(
    options,
    { folder, link, undo },
    {
      project,
      config,
      bundle: bundleFolder,
      settings,
      brokerPort: broker.port,
      imagesPort: images.port,
      mailPort: mails.port,
      traced: options.traced ?? true,
    },
  )
  workers.push(...api)

  /** Runs cron's handler in one process. */
  const scheduled = (cron = CRON) =>
    forEvents()[0]?.event<{ outcome: string }>('/scheduled', { cron, scheduledTime: Date.now() })
  if (options.cron ?? true) {
    // A process that dies meanwhile costs this hour, as in production.
    const timer = setInterval(() => void scheduled()?.catch(() => undefined), HOUR)
    undo.push(() => clearInterval(timer))
  }

  return {
    /** The one address. */
    url: clients.origin,
    stack,
    /** The API's processes; the Durable Objects live in some of their own, `objects` and `hashers`. */
    api: workers,
    broker,
    /** Between clients and API, and between the API and what it uses. */
    links: { clients, database, storage, fallback, models, images, mails, objects, hashers },
    /** The mail service, and its page of what it took. */
    mail,
    scheduled,
    /** Calls a method of one Durable Object. */
    callObject: <T>(binding: string, name: string, method: string, ...parameters: unknown[]) =>
      hostOf(binding).event<T>('/object', { binding, name, method, parameters }),
    /** Takes one Durable Object out of memory; rejects if it isn't there. */
    evictObject: (binding: string, name: string) => hostOf(binding).event<null>('/object', { binding, name }),
    kill: (name: string) => processOf(name).kill(),
    start: (name: string) => processOf(name).start(),
    /** Uncaught ones of all processes, killed ones' too. */
    exceptions: () => all.flatMap((worker) => worker.exceptions),
    usage: () =>
      Object.fromEntries(all.filter((worker) => worker.runs()).map(({ name, usage }) => [name, usage()])),
  }
}
