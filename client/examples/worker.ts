/** A Cloudflare Worker: `POST /` with a product photo answers with the product alone, cut out. */
import { ApiError, MerchantClient } from '@merchant-content/client'

interface Env {
  MERCHANT_API_URL: string
  MERCHANT_API_KEY: string
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    // One for each request: in Workers no request may wait for what another one does.
    const client = new MerchantClient({ baseUrl: env.MERCHANT_API_URL, apiKey: env.MERCHANT_API_KEY })
    try {
      const photo = await client.assets.upload(await request.blob(), { name: 'photo' })
      const { outputs } = await client.generations.run({ task: 'cutout', inputAssetIds: [photo.id] })
      return await client.assets.download(outputs[0]?.id ?? '')
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      return Response.json({ message: error.message }, { status: error.status })
    }
  },
}
