/**
 * A local stand-in for Replicate, fal, OpenAI's images, Gemini and Cloudflare Workers AI: their HTTP APIs, a model
 * that really renders, and a switch for faults.
 */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ZodError } from 'zod'
import { createCloudflare } from './protocols/cloudflare.ts'
import type { Scale, ServerContext } from './protocols/context.ts'
import { createFal } from './protocols/fal.ts'
import { createFaults } from './protocols/faults.ts'
import { sendFile } from './protocols/files.ts'
import { createGemini } from './protocols/gemini.ts'
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
import { createSubmissions } from './protocols/submissions.ts'
import { createWebhooks } from './protocols/webhooks.ts'
import { loadSchemas, type ModelSchema } from './schemas.ts'

export interface ModelServer {
  /** The base URL for a Replicate client. */
  url: string
  /** The base URL for a client of OpenAI's API. */
  openaiUrl: string
  /** The base URL for a client of Cloudflare's API. */
  cloudflareUrl: string
  /** What stands for `https://queue.fal.run`. */
  falUrl: string
  /** Where the key of fal's webhooks is (RFC 7517). */
  falJwksUrl: string
  /** The base URL for a client of Gemini's API. */
  geminiUrl: string
  origin: string
  /** Cancels what runs and closes every connection. */
  stop(): Promise<void>
}

/** `port` 0 takes a free one. `token` opens all APIs. `webhookSecret` is `whsec_` and the key in base64. */
export async function startModels(options: {
  port?: number
  token: string
  webhookSecret: string
  /** Instead of the recorded ones, to see what a changed model does to its clients. */
  schemas?: ModelSchema[]
  /** 1 each, if not given. */
  scale?: Partial<Scale>
}): Promise<ModelServer> {
  const server = createServer({ keepAliveTimeout: 65_000 })
  server.listen(options.port ?? 0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const faults = createFaults()
  const webhooks = createWebhooks(options.webhookSecret)
  const predictions = createPredictions({ origin, faults })
  const submissions = createSubmissions()
  const context: ServerContext = {
    token: options.token,
    faults,
    predictions,
    schemas: options.schemas ?? loadSchemas(),
    scale: { film: 1, picture: 1, ...options.scale },
    submissions,
  }

  const sendStats = ({ response }: Call): void => {
    const summaries = predictions.recent().map(({ provider, prompt, prediction }) => ({
      id: prediction.id,
      provider,
      model: prediction.model,
      prompt,
      status: prediction.status,
      predictTime: prediction.metrics.predict_time ?? null,
      createdAt: prediction.created_at,
      completedAt: prediction.completed_at,
    }))
    sendJson(response, 200, {
      submissions: submissions.total(),
      submissionsByProvider: submissions.counts(),
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
      'GET /submissions': ({ response }) => sendJson(response, 200, submissions.recent()),
      'DELETE /stats': ({ response }) => {
        submissions.forget()
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
    createReplicate(context, options.webhookSecret, webhooks),
    createFal(context, origin, webhooks),
    createOpenai(context),
    createGemini(context),
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
    falUrl: `${origin}/fal`,
    falJwksUrl: `${origin}/fal/.well-known/jwks.json`,
    geminiUrl: `${origin}/gemini/v1beta`,
    origin,
    async stop() {
      webhooks.stop()
      server.close()
      server.closeAllConnections()
      await predictions.stop()
    },
  }
}
