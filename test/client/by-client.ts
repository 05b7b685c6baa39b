/** The main job by the client package: a photo becomes pictures. */
import type { MerchantClient } from '../../client/src/index.ts'

export const makePictures = async (client: MerchantClient, photo: Blob, signal?: AbortSignal) => {
  const { id } = await client.assets.upload(photo, { name: 'mug.jpg', signal })
  const { outputs } = await client.generations.run(
    { task: 'scene', prompt: 'On a table', inputAssetIds: [id] },
    { signal, cancelOnAbort: true, onProgress: ({ status, progress }) => console.log(status, progress) },
  )
  return outputs.map(({ url }) => url)
}
