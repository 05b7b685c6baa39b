/** Hands out what predictions made, whole or in part, as long as it is kept. */
import type { ServerContext } from './context.ts'
import { type Call, Refusal, sendHalf } from './http.ts'

const contentTypes = { png: 'image/png', webp: 'image/webp', jpg: 'image/jpeg', mp4: 'video/mp4' }

/** The first and last byte of a `Range` header with one range (RFC 9110); undefined without one. */
function readRange(header: string | undefined, length: number): [first: number, last: number] | undefined {
  const [, from = '', to = ''] = /^bytes=(\d*)-(\d*)$/.exec(header ?? '') ?? []
  if (from === '' && to === '') return undefined
  const first = from === '' ? Math.max(0, length - Number(to)) : Number(from)
  const last = from === '' || to === '' ? length - 1 : Math.min(Number(to), length - 1)
  if (first > last) throw new Refusal(416, `The file has ${length} bytes.`)
  return [first, last]
}

export function sendFile({ request, response, params }: Call, { faults, predictions }: ServerContext): void {
  const output = predictions.output(params.id ?? '', Number(params.index))
  if (!output || output.format !== params.format) throw new Refusal(404, 'The file does not exist.')
  const { data, format, target } = output
  const type = contentTypes[format]
  const damage = faults.take(['broken_output', 'missing_output'], target)?.kind
  if (damage === 'missing_output') throw new Refusal(404, 'The file does not exist.')
  if (damage && request.method !== 'HEAD') {
    sendHalf(response, 200, type, data)
    return
  }
  const range = readRange(request.headers.range, data.byteLength)
  const [first, last] = range ?? [0, data.byteLength - 1]
  response.writeHead(range ? 206 : 200, {
    'content-type': type,
    'content-length': last - first + 1,
    'accept-ranges': 'bytes',
    ...(range && { 'content-range': `bytes ${first}-${last}/${data.byteLength}` }),
  })
  response.end(request.method === 'HEAD' ? undefined : data.subarray(first, last + 1))
}
