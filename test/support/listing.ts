/** In front of object storage: what it lists is changed, and what it is asked refused, as a test says; the rest passes as it is. */
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Listing {
  /** Keys of one answer. */
  page: number
  /** Which things have been there for days. */
  isOld: (key: string) => boolean
  /** What becomes of a listing of all keys; undefined leaves it without an answer. */
  change: (answer: string) => { status?: number; body: string; cut?: boolean } | undefined
  /** How many there were, with where they began. */
  asked: string[]
  /** Which requests are answered with 500. */
  isRefused: (method: string, url: string) => boolean
}

const DAYS_AGO = new Date(Date.now() - 4 * 24 * 3_600_000).toISOString()

const page = (answer: string, { page: most, isOld }: Listing) => {
  const entries = [...answer.matchAll(/<(Contents|Upload)>.*?<\/\1>/gs)].map(([entry]) => {
    const key = /<Key>([^<]*)/.exec(entry)?.[1] ?? ''
    return isOld(key) ? entry.replace(/(<(?:LastModified|Initiated)>)[^<]*/, `$1${DAYS_AGO}`) : entry
  })
  const shown = entries.slice(0, most)
  const rest = answer.replace(/<(Contents|Upload)>.*<\/\1>/s, '{entries}')
  return rest
    .replace('{entries}', shown.join(''))
    .replace(/<KeyCount>\d+/, `<KeyCount>${shown.length}`)
    .replace(/<IsTruncated>false/, `<IsTruncated>${entries.length > most}`)
}

export const startListing = async (target: () => number) => {
  const listing: Listing = {
    page: 1000,
    isOld: () => false,
    change: (body) => ({ body }),
    asked: [],
    isRefused: () => false,
  }
  const server = createServer((asked, response) => {
    const { method = '', url = '', rawHeaders: headers } = asked
    if (listing.isRefused(method, url)) {
      asked.resume()
      return void response.writeHead(500).end('<Error><Code>InternalError</Code></Error>')
    }
    const forwarded = request({
      host: '127.0.0.1',
      port: target(),
      method,
      path: url,
      headers,
      setHost: false,
    })
    const query = new URL(url, 'http://storage').searchParams
    const isWalk = query.get('prefix') === 'workspaces/'
    forwarded.on('response', async (real) => {
      if (!isWalk) {
        response.writeHead(real.statusCode ?? 502, real.rawHeaders)
        return void real.pipe(response)
      }
      const answer = page(Buffer.concat(await real.toArray()).toString(), listing)
      if (query.has('list-type')) listing.asked.push(query.get('start-after') ?? '')
      const changed = query.has('list-type') ? listing.change(answer) : { body: answer }
      if (!changed) return
      const { status = real.statusCode ?? 502, body, cut } = changed
      response.writeHead(status, { 'content-length': Buffer.byteLength(body) })
      if (cut) response.write(body.slice(0, body.length / 2), () => response.destroy())
      else response.end(body)
    })
    forwarded.on('error', () => response.destroy())
    response.on('close', () => response.writableFinished || forwarded.destroy())
    asked.pipe(forwarded)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    listing,
    port: (server.address() as AddressInfo).port,
    stop: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}
