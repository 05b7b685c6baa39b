/** The sample account, workspace and product photo, made through the API like anybody's; harmless twice. */

import { makeSamplePhoto } from '../models/photo.ts'
import { ApiError, createClient } from '../scripts/client.ts'

export const SAMPLE = { email: 'merchant@example.com', password: 'one picture, one store' }

export const seed = async (url: string): Promise<void> => {
  const anonymous = createClient(url)
  const { access_token } = await anonymous
    .register({ ...SAMPLE, name: 'Sample Merchant' })
    .catch((error: unknown) => {
      if (error instanceof ApiError && error.code === 'email_taken') return anonymous.login(SAMPLE)
      throw error
    })
  const client = createClient(url, access_token)
  if ((await client.listWorkspaces()).data.length === 0) await client.createWorkspace('Sample Store')
  if ((await client.listAssets()).data.length === 0) {
    await client.upload('sample-product.jpg', await makeSamplePhoto())
  }
}
