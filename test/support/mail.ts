/** The mails that the stack has caught. */
import type { Caught } from '../../dev/inbox.ts'
import { stack } from './control.ts'
import { asOwner } from './database.ts'
import { waitFor } from './wait-for.ts'

/** The newest first. */
export const mailsTo = async (address: string): Promise<Caught[]> =>
  (await (await fetch(`${stack.inbox}/mails?to=${encodeURIComponent(address)}`)).json()) as Caught[]

/** The newest mail with this in its subject, once there is one. */
export const mailTo = (address: string, subject: RegExp) =>
  waitFor(`a mail to ${address} about ${subject}`, async () =>
    (await mailsTo(address)).find((mail) => subject.test(mail.subject)),
  )

/** Of a link. */
export const tokenIn = ({ text }: Caught) => /#token=([\w-]+)/.exec(text)?.[1] as string
export const codeIn = ({ text }: Caught) => /^\d{4} \d{4}$/m.exec(text)?.[0] as string

/** How the mails to an address stand, by the database, the oldest first. */
export const mailRowsOf = (address: string) =>
  asOwner<{
    id: string
    kind: string
    status: string
    attempts: number
    error: string | null
    language: string
  }>('select id, kind, status, attempts, error, language from mails where recipient = $1 order by id', [
    address,
  ])

/** When all mails to an address have come to an end. */
export const whenSettled = (address: string, count = 1) =>
  waitFor(`the mails to ${address}`, async () => {
    const rows = await mailRowsOf(address)
    return (
      rows.length >= count && rows.every(({ status }) => !['pending', 'sending'].includes(status)) && rows
    )
  })
