/** Beside the Worker in each process: delivers events to it that come by HTTP, reaches its objects, and tells what exceptions it had. */
import unsafe from 'workerd:unsafe'

export default {
  async fetch(request, { WORKER, ...namespaces }) {
    const event = await request.json()
    const { pathname } = new URL(request.url)
    if (pathname === '/object') {
      const namespace = namespaces[event.binding]
      const object = namespace.get(namespace.idFromName(event.name))
      const call = event.method ? object[event.method](...event.parameters) : unsafe.evict(object)
      return call.then(
        (result) => Response.json(result ?? null),
        (error) => new Response(String(error), { status: 500 }),
      )
    }
    if (pathname === '/scheduled') {
      return Response.json(
        await WORKER.scheduled({ cron: event.cron, scheduledTime: new Date(event.scheduledTime) }),
      )
    }
    const messages = event.messages.map(({ id, timestamp, attempts, contentType, body }) => ({
      id,
      timestamp: new Date(timestamp),
      attempts,
      ...decode(contentType, Uint8Array.fromBase64(body)),
    }))
    return Response.json(await WORKER.queue(event.queue, messages))
  },

  /** One line an exception, which the rig counts. */
  tail(traces) {
    for (const { exceptions, event, outcome } of traces) {
      const at = event?.request
        ? `${event.request.method} ${event.request.url}`
        : (event?.queue ?? event?.cron ?? '')
      for (const { name, message, stack } of exceptions) {
        console.log(JSON.stringify({ exception: { name, message, stack, at, outcome } }))
      }
    }
  },
}

const decode = (contentType, bytes) => {
  if (contentType === 'v8') return { serializedBody: bytes }
  if (contentType === 'bytes') return { body: bytes }
  const text = new TextDecoder().decode(bytes)
  return { body: contentType === 'json' ? JSON.parse(text) : text }
}
