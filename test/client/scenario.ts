/** The main job by the client package, bundled and run as it is by each runtime: by what the web has, and nothing else. */
import { ApiError, MerchantClient, type Tokens, verifyWebhook } from '../../client/src/index.ts'

export interface Given {
  api: string
  workspaceId: string
  /** With an access token that has expired. */
  session: Tokens
  webhook: { body: string; headers: Record<string, string>; secret: string }
}

/** Bytes: more than one request to the API takes. */
const LARGE = 9_000_000

const rejected = async (promise: Promise<unknown>): Promise<unknown> => {
  try {
    await promise
  } catch (error) {
    return error
  }
  return undefined
}

/** What came of each step, as JSON. */
export const scenario = async (given: Given) => {
  let refreshes = 0
  const merchant = new MerchantClient({
    baseUrl: given.api,
    workspaceId: given.workspaceId,
    session: given.session,
    fetch: (input, init) => {
      if (String(input).endsWith('/auth/refresh')) refreshes++
      return fetch(input, init)
    },
  })
  const usage = await Promise.all(Array.from({ length: 20 }, () => merchant.get('/usage')))

  const small = await merchant.assets.upload(new Blob(['a small file']), { name: 'small.txt' })
  const progress: number[] = []
  const large = await merchant.assets.upload(new Blob(['0123456789'.repeat(LARGE / 10)]), {
    name: 'large.txt',
    onProgress: ({ sent }) => progress.push(sent),
  })

  const heard: string[] = []
  const job = await merchant.generations.run(
    { task: 'scene', prompt: 'On a table' },
    { onProgress: ({ status }) => heard.push(status) },
  )
  const file = await fetch(String(job.outputs[0]?.url))
  const copy = await merchant.assets.download(String(job.outputs[0]?.id), { width: 64 })
  const events: string[] = []
  for await (const { type } of merchant.events({ generationId: job.id })) events.push(type)

  const names: string[] = []
  for await (const { name } of merchant.list('/assets', { query: { limit: 1, source: 'upload' } }))
    names.push(name)

  const controller = new AbortController()
  const reason = new Error('enough')
  const aborted = await rejected(
    merchant.generations.run(
      { task: 'scene', prompt: 'Stopped' },
      { signal: controller.signal, onProgress: () => controller.abort(reason) },
    ),
  )
  const refused = await rejected(merchant.get('/assets/{id}', { path: { id: job.id } }))
  const { webhook } = given
  const tampered = await rejected(verifyWebhook({ ...webhook, body: `${webhook.body} ` }))
  return {
    plans: [...new Set(usage.map(({ plan }) => plan))],
    // Its first answer is lost: some platforms ask again by themselves.
    refreshedOnce: refreshes === 1 || refreshes === 2,
    small: small.size,
    large: [large.size, large.status, progress[0], progress.at(-1)],
    job: [job.status, job.outputs.length],
    heard: [heard[0], heard.at(-1)],
    file: (await file.arrayBuffer()).byteLength === job.outputs[0]?.size,
    copy: (await copy.blob()).type,
    events,
    names,
    aborted: aborted === reason,
    refused: refused instanceof ApiError && refused.code,
    webhook: (await verifyWebhook(webhook)).type,
    tampered: String(tampered),
  }
}
