/** Which URLs a user may have the server call: public ones, by https (OWASP on server-side request forgery). */
import type { Env } from '../env.ts'
import { invalidField } from '../errors.ts'

/** Loopback, private, link-local, shared and reserved ranges (RFC 6890). */
const PRIVATE_IPV4 =
  /^(0|10|127|169\.254|172\.(1[6-9]|2\d|3[01])|192\.(0\.[02]|88\.99|168)|198\.(1[89]|51\.100)|203\.0\.113|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])|2(2[4-9]|[345]\d))\./
const PRIVATE_NAME =
  /(^|\.)(localhost|local|internal|intranet|lan|home|corp|test|invalid|example|onion|arpa|svc|cluster)$/
/** RFC 1123; the URL parser has turned other alphabets into this one. */
const HOST_NAME = /^([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)+[a-z0-9][a-z0-9-]*$/

/** What is wrong with a URL, or undefined. The URL parser makes one form of the many that an IP address can have. */
export const problemOfTarget = (env: Env, target: string): string | undefined => {
  if (!URL.canParse(target)) return 'must be a URL'
  const { protocol, hostname, port, username, password } = new URL(target)
  if (username || password) return 'must not contain credentials'
  if (env.WEBHOOK_TARGETS === 'any' && /^https?:$/.test(protocol)) return undefined
  if (protocol !== 'https:') return 'must use https'
  // The parser leaves out the scheme's own port.
  if (port !== '') return 'must use port 443'
  const host = hostname.replace(/\.$/, '').toLowerCase()
  const ownHosts = [env.PUBLIC_URL, env.S3_ENDPOINT].map((own) => new URL(own).hostname)
  const isPrivate = !HOST_NAME.test(host) || PRIVATE_IPV4.test(`${host}.`) || PRIVATE_NAME.test(host)
  return isPrivate || ownHosts.includes(host) ? 'must name a public host' : undefined
}

/** @throws {AppError} validation_failed */
export const checkTarget = (env: Env, target: string, pointer: string): void => {
  const problem = problemOfTarget(env, target)
  if (problem) throw invalidField(pointer, problem)
}
