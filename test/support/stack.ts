/** One throw-away stack for all tests: the edge rig, with one process. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestProject } from 'vitest/node'
import type { MailFault } from '../../dev/inbox.ts'
import { startRig } from '../../dev/rig/rig.ts'

export interface StackAddresses {
  api: string
  control: string
  models: string
  /** Owner's login: looks behind row-level security. */
  adminDatabase: string
  /** The Worker's login. */
  tenantDatabase: string
  systemDatabase: string
  gateKey: string
  /** Where the Worker's driver finds it. */
  databaseGateway: string
  replicateToken: string
  /** The front end's secrets are in rotation: this one and the local stack's. */
  newAuthSecret: string
  webhookSecret: string
  /** What the mail service took: `/mails?to=`. */
  inbox: string
}

declare module 'vitest' {
  interface ProvidedContext {
    stack: StackAddresses
  }
}

export default async (project: TestProject) => {
  const newAuthSecret = 'local-only-auth-secret-that-is-newer'
  const rig = await startRig({
    alone: true,
    cron: false,
    settings: { PUBLIC_URL: 'http://127.0.0.1', AUTH_SECRET_1: newAuthSecret },
  })
  const { stack, broker } = rig
  const [worker] = rig.api
  if (!worker) throw new Error('The rig has no process')

  /** What tests in other processes ask of the rig. */
  const operations: Record<string, (argument: never) => unknown> = {
    /** Runs the sweeper. */
    cron: () => rig.scheduled(),
    /** Puts messages on the queue, as they are. */
    enqueue: (messages: unknown[]) => {
      for (const message of messages) broker.send('jobs', message)
    },
    /** What a bucket tells of what has arrived. */
    tellUploads: (events: unknown[]) => {
      for (const event of events) broker.send('uploads', event)
    },
    /** Takes tokens of one bucket, as the Worker does. */
    take: ({ name, count = 1, ...take }: { name: string; count?: number }) =>
      Promise.all(Array.from({ length: count }, () => rig.callObject('RATE_LIMITER', name, 'take', take))),
    /** Tells a circuit breaker how calls went, and asks it whether it admits the next. */
    breaker: async ({ name, reports }: { name: string; reports: { succeeded: boolean }[] }) => {
      for (const one of reports) await rig.callObject('BREAKER', name, 'report', one)
      const { admitted } = await rig.callObject<{ admitted: boolean }>('BREAKER', name, 'admits')
      return admitted
    },
    evict: ({ name }: { name: string }) => rig.evictObject('RATE_LIMITER', name),
    failDatabase: ({ count, kind }: { count: number; kind: 'unreachable' | 'after_commit' }) =>
      stack.database.failNext(count, kind),
    /** What the mail service does with the next mails. */
    failMail: (fault: MailFault) => rig.mail.fault(fault),
    /** What it tells of mails. */
    tellMails: (events: unknown[]) => {
      for (const event of events) broker.send('mails', event)
    },
    logged: (text: string) => worker.logged(text),
  }
  const control = createServer(async (request, response) => {
    try {
      const operation = operations[String(request.url).slice(1)]
      if (!operation) throw new Error(`no operation ${request.url}`)
      const body = Buffer.concat(await Array.fromAsync(request)).toString()
      const result = await operation((body ? JSON.parse(body) : undefined) as never)
      response.end(JSON.stringify(result ?? null))
    } catch (error) {
      response.writeHead(500).end(String(error))
    }
  })
  await new Promise<void>((resolve) => control.listen(0, '127.0.0.1', resolve))

  project.provide('stack', {
    api: worker.url(),
    control: `http://127.0.0.1:${(control.address() as AddressInfo).port}`,
    models: stack.models.origin,
    adminDatabase: stack.database.adminUrl,
    tenantDatabase: stack.database.tenantUrl,
    systemDatabase: stack.database.systemUrl,
    gateKey: stack.settings.GATE_KEY ?? '',
    databaseGateway: stack.settings.DATABASE_HTTP_URL as string,
    replicateToken: stack.settings.REPLICATE_API_TOKEN as string,
    newAuthSecret,
    webhookSecret: stack.settings.REPLICATE_WEBHOOK_SECRET as string,
    inbox: rig.mail.url,
  })

  return async () => {
    control.close()
    await rig.stop()
  }
}
