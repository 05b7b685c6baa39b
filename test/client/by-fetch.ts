/** The same main job by `fetch` alone, as one writes it on the first day. */

export const makePictures = async (api: string, token: string, photo: Blob, signal?: AbortSignal) => {
  const call = async <T>(path: string, init: RequestInit = {}): Promise<T> => {
    const headers = { authorization: `Bearer ${token}`, ...init.headers }
    const response = await fetch(`${api}/api/v1${path}`, { ...init, headers, signal: signal ?? null })
    const body = (await response.json()) as T & { detail?: string }
    if (!response.ok) throw new Error(`${path}: ${response.status} ${body.detail}`)
    return body
  }
  const form = new FormData()
  form.append('file', photo, 'mug.jpg')
  const asset = await call<{ id: string }>('/assets/upload', { method: 'POST', body: form })
  const job = await call<{ id: string }>('/generations', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ task: 'scene', prompt: 'On a table', inputAssetIds: [asset.id] }),
  })
  const stream = await fetch(`${api}/api/v1/generations/${job.id}/events`, {
    headers: { authorization: `Bearer ${token}` },
    signal: signal ?? null,
  })
  let text = ''
  for await (const chunk of stream.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += chunk
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const data = /^data: (.*)$/m.exec(text.slice(0, end))?.[1]
      text = text.slice(end + 2)
      if (data) console.log(JSON.parse(data).status, JSON.parse(data).progress)
    }
  }
  const done = await call<{ status: string; outputs: { url: string }[] }>(`/generations/${job.id}`)
  if (done.status !== 'succeeded') throw new Error(`the job has ${done.status}`)
  return done.outputs.map(({ url }) => url)
}
