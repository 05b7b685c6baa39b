/** The sample account, proved by the mail it is sent, its workspace and product photo, made through the API like anybody's; harmless twice. */
import { makeSamplePhoto } from '../models/photo.ts'
import { ApiError, createClient } from '../scripts/client.ts'
import { readCode } from '../scripts/inbox.ts'

export const SAMPLE = { email: 'merchant@example.com', password: 'one picture, one store' }

/** @param inbox where the stack's mail is read */
export const seed = async (url: string, inbox: string): Promise<void> => {
  const anonymous = createClient(url)
  let isKnown = false
  const { access_token } = await anonymous
    .register({ ...SAMPLE, name: 'Sample Merchant' })
    .catch((error: unknown) => {
      isKnown = error instanceof ApiError && error.code === 'email_taken'
      if (isKnown) return anonymous.login(SAMPLE)
      throw error
    })
  const client = createClient(url, access_token)
  if (!isKnown) await client.confirmEmail(await readCode(inbox, SAMPLE.email))
  if ((await client.listWorkspaces()).data.length === 0) await client.createWorkspace('Sample Store')
  if ((await client.listAssets()).data.length === 0) {
    await client.upload('sample-product.jpg', await makeSamplePhoto())
  }
}
