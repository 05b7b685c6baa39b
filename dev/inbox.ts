/**
 * Catches every mail of a local stack, and shows them on a page: those that the rig's mail service is sent, or those that
 * wrangler's keeps. No mail leaves this machine.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Caught {
  id: string
  to: string
  from: string
  subject: string
  text: string
  html: string
  sentAt: string
}

/** The newest first; all, or those to one address. */
type List = (to: string | undefined) => Promise<Caught[]>

const toEntities = (text: string) => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`)

const page = (title: string, body: string, refresh = '') => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">${refresh}
<title>${toEntities(title)}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 860px; margin: 2rem auto; padding: 0 1rem; color: #222 }
li { list-style: none; padding: .5rem 0; border-bottom: 1px solid #ddd }
ul { padding: 0 } small { color: #666 } iframe { width: 100%; height: 560px; border: 1px solid #ddd }
pre { white-space: pre-wrap; background: #f4f4f2; padding: 1rem }
</style>
${body}`

const overview = (mails: Caught[]) =>
  page(
    'Inbox',
    `<h1>Inbox</h1>
<p>Every mail of this stack, the newest first. None has left this machine.</p>
<ul>${mails
      .map(
        ({ id, to, subject, sentAt }) =>
          `<li><a href="/mails/${encodeURIComponent(id)}">${toEntities(subject)}</a><br><small>to ${toEntities(to)}, ${toEntities(sentAt)}</small></li>`,
      )
      .join('\n')}</ul>
${mails.length === 0 ? '<p>None yet.</p>' : ''}`,
    '\n<meta http-equiv="refresh" content="5">',
  )

const letter = ({ to, from, subject, text, html, sentAt }: Caught) =>
  page(
    subject,
    `<p><a href="/">Inbox</a></p>
<h1>${toEntities(subject)}</h1>
<p><small>from ${toEntities(from)}<br>to ${toEntities(to)}<br>${toEntities(sentAt)}</small></p>
<iframe sandbox="allow-popups allow-top-navigation-by-user-activation" srcdoc="${toEntities(html)}"></iframe>
<h2>As plain text</h2>
<pre>${toEntities(text)}</pre>`,
  )

const serve = async (list: List, request: IncomingMessage, response: ServerResponse) => {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://inbox')
  const as = (type: string, body: string, status = 200) =>
    void response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body)
  const html = 'text/html; charset=utf-8'
  if (pathname === '/') return as(html, overview(await list(undefined)))
  if (pathname === '/mails')
    return as('application/json', JSON.stringify(await list(searchParams.get('to') ?? undefined)))
  const found = (await list(undefined)).find(({ id }) => pathname === `/mails/${encodeURIComponent(id)}`)
  return found ? as(html, letter(found)) : as(html, page('Not found', '<p>There is no such mail.</p>'), 404)
}

const listen = async (
  port: number,
  answer: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
) => {
  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => response.writeHead(502).end(String(error)))
  })
  await new Promise<void>((resolve, reject) =>
    server.once('error', reject).listen(port, '127.0.0.1', resolve),
  )
  // `as`: it listens.
  const { port: actual } = server.address() as AddressInfo
  return {
    port: actual,
    url: `http://127.0.0.1:${actual}`,
    stop: async () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

/** As wrangler's local explorer lists what its `send_email` binding was given. */
interface Sent {
  result: { messageId: string }[]
}
interface Detail {
  result: Omit<Caught, 'id' | 'to' | 'text' | 'html'> & { to: string[]; text?: string; html?: string }
}

/** The page for `npm run dev`: what wrangler at `worker` has caught since it started. */
export const startInbox = (port: number, worker: () => string) => {
  const known = new Map<string, Caught>()
  const ask = async <T>(query: string): Promise<T> => {
    const response = await fetch(`${worker()}/cdn-cgi/local/explorer/api/local/email/sending?${query}`)
    if (!response.ok) throw new Error(`wrangler's mails: ${response.status} ${await response.text()}`)
    // `as`: wrangler's own API.
    return (await response.json()) as T
  }
  const list: List = async (to) => {
    const { result } = await ask<Sent>('per_page=100')
    for (const { messageId: id } of result) {
      if (known.has(id)) continue
      const {
        from,
        to,
        subject,
        sentAt,
        text = '',
        html = '',
      } = (await ask<Detail>(`email_id=${encodeURIComponent(id)}`)).result
      known.set(id, { id, from, to: to.join(', '), subject, sentAt, text, html })
    }
    return [...known.values()]
      .filter((mail) => to === undefined || mail.to === to)
      .sort((a, b) => b.sentAt.localeCompare(a.sentAt))
  }
  return listen(port, (request, response) => serve(list, request, response))
}

/** What the mail service does with the next mails to an address, or to any. */
export interface MailFault {
  to?: string
  /** How often; always when not given. */
  times?: number
  /** Of the service's; `lost`: it takes the mail, and its answer never comes; `cut`: the connection breaks before. */
  code: string
}

/**
 * The mail service of the rig, and the page of what it took. It is told what the `send_email` binding was given, and refuses
 * as Cloudflare does: with a code, and without having taken it.
 */
export const startMailService = async () => {
  const mails: Caught[] = []
  let faults: (MailFault & { hits: number })[] = []
  const list: List = async (to) => mails.filter((mail) => to === undefined || mail.to === to).toReversed()

  const take = async (request: IncomingMessage, response: ServerResponse) => {
    const message = JSON.parse(Buffer.concat(await Array.fromAsync(request)).toString())
    const { to, from, subject, text, html } = message
    const fault = faults.find(
      (one) => (one.to ?? to) === to && one.hits < (one.times ?? Number.POSITIVE_INFINITY),
    )
    if (fault) fault.hits++
    const isWhole = [to, from?.email, subject, text, html].every(
      (part) => typeof part === 'string' && part !== '',
    )
    const code = isWhole ? fault?.code : 'E_VALIDATION_ERROR'
    if (code === 'cut') return void request.socket.destroy()
    if (code && code !== 'lost') {
      response.writeHead(400).end(JSON.stringify({ code, message: code }))
      return
    }
    const id = `${crypto.randomUUID()}@local`
    const sentAt = new Date().toISOString()
    mails.push({ id, to, from: `${from.name} <${from.email}>`, subject, text, html, sentAt })
    if (code === 'lost') return void request.socket.destroy()
    response.end(JSON.stringify({ messageId: id }))
  }
  const server = await listen(0, (request, response) =>
    request.method === 'POST' ? take(request, response) : serve(list, request, response),
  )
  return {
    ...server,
    mails,
    fault: (fault: MailFault) => void faults.push({ ...fault, hits: 0 }),
    clearFaults: () => {
      faults = []
    },
  }
}
