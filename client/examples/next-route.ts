/**
 * A route of Next.js behind Auth.js (`app/api/pictures/route.ts`): makes pictures of an uploaded photo for whoever is signed
 * in. The API reads Auth.js's own cookie: both share `AUTH_SECRET`, this origin is in its `ALLOWED_ORIGINS`, and the `jwt`
 * callback says which account signed in (docs/deploy.md).
 */
import { ApiError, GenerationError, MerchantClient } from '@merchant-content/client'

export const POST = async (request: Request): Promise<Response> => {
  const client = new MerchantClient({
    baseUrl: process.env.MERCHANT_API_URL ?? '',
    headers: { cookie: request.headers.get('cookie') ?? '', origin: process.env.AUTH_URL ?? '' },
  })
  const { signal } = request
  const form = await request.formData()
  const photo = form.get('photo')
  if (!(photo instanceof File)) return Response.json({ message: 'Send a photo.' }, { status: 400 })
  try {
    const { id } = await client.assets.upload(photo, { signal })
    const { outputs } = await client.generations.run(
      { task: 'scene', prompt: String(form.get('prompt')), inputAssetIds: [id] },
      // Whoever leaves the page pays nothing.
      { signal, cancelOnAbort: true },
    )
    return Response.json({ pictures: outputs.map(({ url }) => url) })
  } catch (error) {
    if (error instanceof ApiError) return Response.json({ message: error.message }, { status: error.status })
    if (error instanceof GenerationError) return Response.json({ message: error.message }, { status: 422 })
    throw error
  }
}
