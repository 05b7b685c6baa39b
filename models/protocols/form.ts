/** Reads multipart forms. */
import { type Call, Refusal, readBody } from './http.ts'

/** Text as it is, and files. Throws a refusal when the body is no form. */
export async function readForm({ request }: Call, maxBytes: number): Promise<FormData> {
  const body = await readBody(request, maxBytes)
  const type = request.headers['content-type'] ?? ''
  return new Response(new Uint8Array(body), { headers: { 'content-type': type } }).formData().catch(() => {
    throw new Refusal(400, 'The request body is not a multipart form.')
  })
}
