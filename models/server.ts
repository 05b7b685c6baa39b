/**
 * A local stand-in for Replicate, OpenAI's images and Cloudflare Workers AI: their HTTP APIs, a model that really
 * renders, and a switch for faults.
 */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ZodError } from 'zod'
import { createCloudflare } from './protocols/cloudflare.ts'
import type { ServerContext } from './protocols/context.ts'
import { createFaults, type Provider } from './protocols/faults.ts'
import { sendFile } from './protocols/files.ts'
import {
  type Call,
  createRouter,
  type Protocol,
  Refusal,
  readJson,
  refuseAsProxy,
  sendJson,
} from './protocols/http.ts'
import { createOpenai } from './protocols/openai.ts'
import { createPredictions } from './protocols/predictions.ts'
import { createReplicate, refuseAsReplicate } from './protocols/replicate.ts'
import { createWebhooks } from './protocols/webhooks.ts'

export interface ModelServer {
  /** The base URL for a Replicate client. */
  url: string
  /** The base URL for a client of OpenAI's API. */
  openaiUrl: string
  /** The base URL for a client of Cloudflare's API. */
  cloudflareUrl: string
  origin: string
  /** Cancels what runs and closes every connection. */
  stop(): Promise<void>
}

const none: Record<Provider, number> = { replicate: 0, openai: 0, cloudflare: 0 }

/** `port` 0 takes a free one. `token` opens all three APIs. `webhookSecret` is `whsec_` and the key in base64. */
export async function startModels(options: {
  port?: number
  token: string
  webhookSecret: string
}): Promise<ModelServer> {
  const server = createServer({ keepAliveTimeout: 65_000 })
  server.listen(options.port ?? 0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const faults = createFaults()
  const webhooks = createWebhooks(options.webhookSecret)
  const predictions = createPredictions({ origin, faults, notify: webhooks.send })
  let submissions = { ...none }
  const context: ServerContext = {
    token: options.token,
    faults,
    predictions,
    count(provider) {
      submissions[provider]++
    },
  }

  const sendStats = ({ response }: Call): void => {
    const summaries = predictions.recent().map(({ provider, prediction }) => ({
      id: prediction.id,
      provider,
      model: prediction.model,
      status: prediction.status,
      predictTime: prediction.metrics.predict_time ?? null,
      createdAt: prediction.created_at,
      completedAt: prediction.completed_at,
    }))
    sendJson(response, 200, {
      submissions: Object.values(submissions).reduce((sum, count) => sum + count),
      submissionsByProvider: submissions,
      predictions: summaries,
    })
  }

  const addFault = async ({ request, response }: Call): Promise<void> => {
    try {
      faults.add(await readJson(request))
    } catch (error) {
      if (error instanceof ZodError) throw new Refusal(422, error.message)
      throw error
    }
    response.writeHead(204).end()
  }

  /** What no provider has: the switch for faults and the statistics; and the files, which need no token. */
  const own: Protocol = {
    prefix: '/',
    refuse: refuseAsReplicate,
    routes: {
      'GET /outputs/:id/:index.:format': (call) => sendFile(call, context),
      'HEAD /outputs/:id/:index.:format': (call) => sendFile(call, context),
      'GET /stats': sendStats,
      'DELETE /stats': ({ response }) => {
        submissions = { ...none }
        predictions.forgetRecent()
        response.writeHead(204).end()
      },
      'POST /faults': addFault,
      'DELETE /faults': ({ response }) => {
        faults.clear()
        response.writeHead(204).end()
      },
    },
  }
  const protocols = [
    createReplicate(context, options.webhookSecret),
    createOpenai(context),
    createCloudflare(context),
    own,
  ].map((protocol) => ({ protocol, route: createRouter(protocol) }))

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const pathname = URL.parse(request.url ?? '/', origin)?.pathname ?? '/'
    const { protocol, route } = protocols.find(({ protocol }) => pathname.startsWith(protocol.prefix)) ?? {
      protocol: own,
      route: () => undefined,
    }
    try {
      protocol.authenticate?.(request)
      const found = route(`${request.method} ${pathname}`)
      if (!found) throw new Refusal(404, 'The requested resource could not be found.')
      await found.handle({ request, response, params: found.params })
    } catch (error) {
      if (response.headersSent || response.destroyed) return
      if (error instanceof Refusal && error.details.byProxy) return refuseAsProxy(response, error)
      if (error instanceof Refusal) return protocol.refuse(response, error)
      console.error(error)
      protocol.refuse(response, new Refusal(500, 'The model server failed.'))
    }
  }
  server.on('request', (request, response) => void answer(request, response))

  return {
    url: `${origin}/v1`,
    openaiUrl: `${origin}/openai/v1`,
    cloudflareUrl: `${origin}/client/v4`,
    origin,
    async stop() {
      webhooks.stop()
      server.close()
      server.closeAllConnections()
      await predictions.stop()
    },
  }
}
