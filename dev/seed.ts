/** The sample account, proved by the mail it is sent, its workspace and product photo, made through the API like anybody's; harmless twice. */
import { ApiError, MerchantClient } from '../client/src/index.ts'
import { makeSamplePhoto } from '../models/photo.ts'
import { signUpByMail } from '../scripts/inbox.ts'

export const SAMPLE = { email: 'merchant@example.com', password: 'one picture, one store' }

/** @param inbox where the stack's mail is read */
export const seed = async (baseUrl: string, inbox: string): Promise<void> => {
  const client = new MerchantClient({ baseUrl })
  await signUpByMail(client, inbox, { ...SAMPLE, name: 'Sample Merchant' }).catch((error: unknown) => {
    if (error instanceof ApiError && error.code === 'email_taken') return client.signIn(SAMPLE)
    throw error
  })
  const { data: workspaces } = await client.get('/workspaces')
  if (workspaces.length === 0) await client.post('/workspaces', { body: { name: 'Sample Store' } })
  const { data: assets } = await client.get('/assets')
  if (assets.length === 0) await client.assets.upload(await makeSamplePhoto(), { name: 'sample-product.jpg' })
}
