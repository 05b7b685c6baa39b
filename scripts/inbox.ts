/** What a local stack's inbox has caught, for clients that have to read their mail. */
import { setTimeout as delay } from 'node:timers/promises'
import type { MerchantClient } from '../client/src/index.ts'
import type { Caught } from '../dev/inbox.ts'

/** Milliseconds. */
const PATIENCE = 30_000

/** The code of the newest mail to an address that has one, once there is one. @throws {Error} */
export const readCode = async (inbox: string, to: string): Promise<string> => {
  for (const started = Date.now(); Date.now() - started < PATIENCE; await delay(100)) {
    const response = await fetch(`${inbox}/mails?to=${encodeURIComponent(to)}`).catch(() => undefined)
    if (!response) throw new Error(`no inbox answers at ${inbox}: start the stack with npm run dev`)
    // `as`: the stack's own page.
    const mails = (await response.json()) as Caught[]
    const code = mails.map(({ text }) => /^\d{4} \d{4}$/m.exec(text)?.[0]).find(Boolean)
    if (code) return code
  }
  throw new Error(`no mail with a code to ${to}, see ${inbox}`)
}

/** Signs up somebody new who proves their address, as free credits want it. */
export const signUpByMail = async (
  client: MerchantClient,
  inbox: string,
  account: { email: string; password: string; name?: string },
): Promise<void> => {
  await client.signUp(account)
  await client.post('/auth/email/verify/confirm', { body: { code: await readCode(inbox, account.email) } })
}
