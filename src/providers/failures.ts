/**
 * Why providers fail, as a closed list, and the table that recognises their words. What is not in the table counts as
 * a passing fault of the provider, and is logged whole.
 */

import { toStorable } from '../text.ts'
import type { Fixer } from '../words.ts'

interface Kind {
  /** Who can do something about it. */
  whoFixes: Fixer
  /**
   * `job`: it ends the job. `offer`: this offer can't do it, another may; of an operator's fault the log tells.
   * `time`: it passes.
   */
  ends: 'job' | 'offer' | 'time'
}

export const reasons = {
  content_rejected: { whoFixes: 'caller', ends: 'job' },
  input_rejected: { whoFixes: 'caller', ends: 'job' },
  key_refused: { whoFixes: 'operator', ends: 'offer' },
  out_of_credit: { whoFixes: 'operator', ends: 'offer' },
  not_verified: { whoFixes: 'operator', ends: 'offer' },
  model_gone: { whoFixes: 'operator', ends: 'offer' },
  schema_changed: { whoFixes: 'operator', ends: 'offer' },
  too_many_requests: { whoFixes: 'provider', ends: 'time' },
  unreachable: { whoFixes: 'provider', ends: 'time' },
  /** Our storage did not give a photo: the provider was not asked. */
  no_input: { whoFixes: 'provider', ends: 'time' },
  provider_failed: { whoFixes: 'provider', ends: 'time' },
  /** By whoever may, or at the deadline that it was given. */
  canceled: { whoFixes: 'provider', ends: 'time' },
  no_output: { whoFixes: 'provider', ends: 'job' },
} as const satisfies Record<string, Kind>

export type Reason = keyof typeof reasons

export interface Failure {
  reason: Reason
  /** As the provider worded it: for the log. */
  detail: string
  /** Seconds, as the provider asked for. */
  retryAfter?: number
}

/** The first that fits; recorded from the providers' answers. */
const table: readonly { reason: Reason; status?: readonly number[]; words?: RegExp }[] = [
  { reason: 'canceled', words: /^Replicate: (canceled|aborted):|request[ _](was )?cancell?ed/i },
  {
    reason: 'content_rejected',
    words:
      /nsfw|flagged as sensitive|\bE005\b|content[ _-]?policy|content_policy_violation|moderation[_ ]blocked|safety (system|filter|check)|IMAGE_SAFETY|PROHIBITED_CONTENT|IMAGE_PROHIBITED_CONTENT|\bSAFETY\b|RECITATION|prohibited use|copyright|could not generate (an )?image/i,
  },
  { reason: 'not_verified', status: [403], words: /must be verified|verify organization|verification/i },
  {
    reason: 'out_of_credit',
    words:
      /insufficient[_ ]quota|insufficient credit|payment required|billing hard limit|exhausted balance|out of credit|free allocation/i,
  },
  { reason: 'out_of_credit', status: [402] },
  {
    reason: 'key_refused',
    words: /API key not valid|invalid[_ ]api[_ ]key|API_KEY_INVALID|unauthenticated/i,
  },
  { reason: 'key_refused', status: [401, 403] },
  { reason: 'too_many_requests', status: [429] },
  // Before photos: a model's name may have "image" in it.
  {
    reason: 'model_gone',
    words:
      /no such model|model[^.]{0,40}(not found|does not exist|deprecated|shut ?down|retired)|model_not_found/i,
  },
  { reason: 'model_gone', status: [404, 410] },
  {
    reason: 'input_rejected',
    words:
      /(image|photo|file)[^.]{0,60}(too (small|large)|unsupported|not supported|corrupt|could not be (read|decoded|processed|loaded)|cannot identify|at least \d+|invalid image)|invalid_image|image_parse_error|failed to (load|decode|download) (the )?image/i,
  },
  { reason: 'input_rejected', status: [413] },
  { reason: 'schema_changed', status: [400, 405, 415, 422] },
]

/** Characters of what a provider says that say something. */
const MAX_DETAIL = 2000

/**
 * What providers say, as the log and the database take it: cut, well-formed, and without what URLs are signed with, since
 * providers repeat those that they were sent.
 */
export const redact = (text: string): string =>
  toStorable(text.slice(0, MAX_DETAIL)).replace(/(https?:\/\/[^\s"'<>?]+)\?[^\s"'<>]*/g, '$1?…')

/** @param status of the HTTP answer, if the words came with one */
export const failureOf = (said: string, status?: number): Failure => {
  const detail = redact(said)
  // The page of something in between, and what breaks at the provider, say nothing of words and photos.
  const isCallers = !(status && status >= 500) && !/<html|<!doctype/i.test(detail)
  const found = table.find(
    (row) =>
      (isCallers || reasons[row.reason].whoFixes !== 'caller') &&
      (row.words?.test(detail) ?? true) &&
      (row.status === undefined || (status !== undefined && row.status.includes(status))),
  )
  return { reason: found?.reason ?? (status === undefined ? 'provider_failed' : 'unreachable'), detail }
}

/** Whole seconds, from the header, or from where providers say it in words only; what is no time to wait counts as none. */
export const retryAfterOf = (headers: Headers, text: string): number | undefined => {
  const [, json, words] = /"retry(?:_after|Delay)":\s*"?(\d+)|resets in ~?(\d+)\s?s/i.exec(text) ?? []
  const seconds = [headers.get('retry-after'), json, words].map(Number)
  const first = seconds.find((one) => Number.isFinite(one) && one > 0)
  return first && Math.ceil(first)
}
