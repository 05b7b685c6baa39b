/**
 * `node script.ts film.jpg "Steam rises from the mug"`: a photo becomes pictures in a folder, however large it is and however
 * often the connection breaks. Ctrl-C stops the job, too. Needs MERCHANT_API_URL and MERCHANT_API_KEY.
 */
import { openAsBlob } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { MerchantClient } from '@merchant-content/client'

const { MERCHANT_API_URL: baseUrl = '', MERCHANT_API_KEY: apiKey } = process.env
const [path = '', prompt = ''] = process.argv.slice(2)

const stop = new AbortController()
process.once('SIGINT', () => stop.abort(new Error('stopped')))
const { signal } = stop

const client = new MerchantClient({ baseUrl, apiKey })
// Read from disk as it is sent.
const photo = await client.assets.upload(await openAsBlob(path), {
  name: basename(path),
  signal,
  onProgress: ({ sent, total }) => console.log(`sent ${Math.round((100 * sent) / total)} %`),
})
const { outputs } = await client.generations.run(
  { task: 'scene', prompt, inputAssetIds: [photo.id], count: 2 },
  {
    signal,
    cancelOnAbort: true,
    onProgress: ({ status, progress }) => console.log(`${status} ${progress} %`),
  },
)
for (const { id, name } of outputs) {
  const file = await client.assets.download(id)
  await writeFile(name, new Uint8Array(await file.arrayBuffer()))
  console.log(`wrote ${name}`)
}
