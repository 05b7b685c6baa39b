/** The mail service: one function around Cloudflare's `send_email` binding, and what its answers mean. */
import type { Env } from '../env.ts'

export interface Letter {
  to: string
  subject: string
  text: string
  html: string
}

/** `later`: it was not taken, and may be another time. `unknown`: nobody can say whether it was. */
export type Outcome =
  | { kind: 'sent'; messageId: string }
  | { kind: 'later' | 'unknown'; error: string }
  | { kind: 'refused'; error: string; bounced: boolean }

/** Milliseconds. */
const PATIENCE = 15_000

/**
 * Codes by which the service says that it has not taken a mail, but may later: limits, its own faults, a sender's domain that
 * the operator has to set up.
 * https://developers.cloudflare.com/email-service/api/send-emails/workers-api/#error-codes
 */
const passing = new Set([
  'E_RATE_LIMIT_EXCEEDED',
  'E_DAILY_LIMIT_EXCEEDED',
  'E_INTERNAL_SERVER_ERROR',
  'E_DELIVERY_FAILED',
  'E_SENDER_NOT_VERIFIED',
  'E_SENDER_DOMAIN_NOT_AVAILABLE',
])

const codeOf = (error: unknown): string | undefined => {
  if (!(error instanceof Error)) return undefined
  const named = 'code' in error ? String(error.code) : error.message
  return /\bE_[A-Z_]+\b/.exec(named)?.[0]
}

/** Calls the service once. What it answers with a code it has not taken; what breaks off without one it may have. */
export const sendMail = async (env: Env, letter: Letter): Promise<Outcome> => {
  const late = scheduler.wait(PATIENCE).then(() => undefined)
  try {
    const answer = await Promise.race([env.EMAIL.send({ from: env.MAIL_FROM, ...letter }), late])
    return answer
      ? { kind: 'sent', messageId: answer.messageId }
      : { kind: 'unknown', error: 'no answer in time' }
  } catch (error) {
    const code = codeOf(error)
    if (code === undefined) return { kind: 'unknown', error: String(error).slice(0, 200) }
    if (passing.has(code)) return { kind: 'later', error: code }
    return { kind: 'refused', error: code, bounced: code === 'E_RECIPIENT_SUPPRESSED' }
  }
}
