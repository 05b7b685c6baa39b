/**
 * Receives webhooks on PORT, and answers before it works. Needs WEBHOOK_SECRET (several, with commas, while one replaces another),
 * MERCHANT_API_URL and MERCHANT_API_KEY.
 */
import { createServer } from 'node:http'
import { MerchantClient, verifyWebhook, WebhookError } from '@merchant-content/client'

const { MERCHANT_API_URL: baseUrl = '', MERCHANT_API_KEY: apiKey, WEBHOOK_SECRET = '', PORT } = process.env
const client = new MerchantClient({ baseUrl, apiKey })
/** Messages may come twice; a database remembers them for longer. */
const seen = new Set<string>()

const server = createServer(async (request, response) => {
  try {
    // As it came: parsed and serialised again it would be another one.
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const body = new Uint8Array(Buffer.concat(chunks))
    const secret = WEBHOOK_SECRET.split(',')
    const { id, type, data } = await verifyWebhook({ body, headers: request.headers, secret })
    response.writeHead(204).end()
    if (seen.has(id)) return
    seen.add(id)
    if (type !== 'generation.succeeded') return
    const { outputs } = await client.generations.get(data.generationId)
    console.log(`${data.generationId} has ${outputs.length} pictures`)
  } catch (error) {
    console.error(String(error))
    if (!response.headersSent) response.writeHead(error instanceof WebhookError ? 400 : 500).end()
  }
})
server.listen(Number(PORT), '127.0.0.1', () => console.log(`listens on ${PORT}`))
