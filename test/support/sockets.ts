/** Requests byte by byte, as fetch would not send them. */
import { connect } from 'node:net'
import { stack } from './control.ts'

/** A connection to the API. What it answers is read until either side closes. */
export const openSocket = () => {
  const { hostname, port } = new URL(stack.api)
  const socket = connect({ host: hostname, port: Number(port), noDelay: true })
  const received: Buffer[] = []
  const answered = new Promise<string>((resolve) =>
    socket.on('close', () => resolve(Buffer.concat(received).toString('latin1'))),
  )
  // The other side may close while bytes are on their way.
  socket.on('error', () => undefined).on('data', (chunk) => received.push(chunk))
  return {
    socket,
    /** The whole answer. */
    answered,
  }
}

/** Sends a whole request, headers with `Connection: close`, in Latin-1; answers all that comes back. */
export const sendRaw = (request: string): Promise<string> => {
  const { socket, answered } = openSocket()
  socket.write(Buffer.from(request, 'latin1'))
  return answered
}
