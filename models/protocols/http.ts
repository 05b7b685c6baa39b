/** What the protocols share on the wire: bodies in and out, tokens, refusals, and routes. */
import type { IncomingMessage, ServerResponse } from 'node:http'

export interface Call {
  request: IncomingMessage
  response: ServerResponse
  params: Record<string, string>
}

export interface Protocol {
  /** What its paths start with. */
  prefix: string
  /** By method and path, as in `GET /v1/predictions/:id`. */
  routes: Record<string, (call: Call) => void | Promise<void>>
  /** Throws a refusal. */
  authenticate?(request: IncomingMessage): void
  /** Says no in the protocol's own words. */
  refuse(response: ServerResponse, refusal: Refusal): void
}

interface Details {
  /** Seconds, for the header. */
  retryAfter?: number
  /** The protocol's own code for it, where it has one that its status doesn't tell. */
  code?: string | number
  /** The parameter at fault. */
  param?: string
  /** In HTML: it came from something in between, which knows no protocol. */
  byProxy?: boolean
  /** What the protocol's body has besides, or has instead of what its status would say. */
  extra?: Record<string, unknown>
  headers?: Record<string, string>
}

export class Refusal extends Error {
  readonly status: number
  readonly details: Details

  constructor(status: number, message: string, details: Details = {}) {
    super(message)
    this.status = status
    this.details = details
  }
}

export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const text = Buffer.from(JSON.stringify(body))
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': text.byteLength, ...headers })
    .end(text)
}

/** As whatever stands in front of a provider answers. */
export function refuseAsProxy(response: ServerResponse, { status, message }: Refusal): void {
  response.writeHead(status, { 'content-type': 'text/html' }).end(`<html><body>${message}</body></html>`)
}

/** An answer that stops in the middle of its JSON. */
export function sendGarbled(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body).slice(0, 60))
}

/** Announces all of the bytes, sends half of them and hangs up. */
export function sendHalf(response: ServerResponse, status: number, type: string, data: Uint8Array): void {
  response.writeHead(status, { 'content-type': type, 'content-length': data.byteLength })
  response.write(data.subarray(0, data.byteLength >> 1), () => response.destroy())
}

export const headersOf = ({ details: { retryAfter, headers } }: Refusal): Record<string, string> => ({
  ...(retryAfter !== undefined && { 'retry-after': String(retryAfter) }),
  ...headers,
})

export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.byteLength
    if (size > maxBytes) throw new Refusal(413, `At most ${maxBytes} bytes.`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

export async function readJson(request: IncomingMessage, maxBytes = 40 * 1024 * 1024): Promise<unknown> {
  const body = await readBody(request, maxBytes)
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    throw new Refusal(400, 'The request body is not valid JSON.')
  }
}

/** The token of an `Authorization` header with one of the schemes; undefined without it. */
export function readToken({ headers }: IncomingMessage, schemes: RegExp): string | undefined {
  const [scheme = '', token] = (headers.authorization ?? '').split(' ')
  return schemes.test(scheme) ? token : undefined
}

/** Finds the handler of a protocol for a method and a path; undefined if there is none. */
export function createRouter(
  protocol: Protocol,
): (
  target: string,
) => { handle: (call: Call) => void | Promise<void>; params: Record<string, string> } | undefined {
  const table = Object.entries(protocol.routes).map(([route, handle]) => {
    const pattern = new RegExp(`^${route.replaceAll('.', '\\.').replace(/:(\w+)/g, '(?<$1>[^/]+)')}$`)
    return { pattern, handle }
  })
  return (target) => {
    for (const { pattern, handle } of table) {
      const match = pattern.exec(target)
      if (match) return { handle, params: { ...match.groups } }
    }
    return undefined
  }
}
