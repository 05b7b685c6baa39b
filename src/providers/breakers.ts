/** The circuit breaker of each offer: one model that fails says nothing of its provider's others. */

import { log } from '../context.ts'
import { type Env, objectOf } from '../env.ts'
import { describeError } from '../errors.ts'
import type { Asking } from './breaker.ts'
import { type Failure, type Reason, reasons } from './failures.ts'

interface Named {
  provider: string
  model: string
}

const nameOf = ({ provider, model }: Named) => `${provider}:${model}`

export const breakerOf = (env: Env, offer: Named) => objectOf(env, env.BREAKER, nameOf(offer))

/** Milliseconds for which an offer that had not failed is taken for sound: its breaker is not asked, nor told of a success. */
const SOUND = 1000

/** When offers had not failed as this isolate asked, in milliseconds. */
const sound = new Map<string, number>()

const isSound = (name: string) => Date.now() - (sound.get(name) ?? 0) < SOUND

const noteUnreachable = (offer: string) => (error: unknown) =>
  log({ level: 'warn', message: 'breaker unreachable', offer, error: describeError(error) })

/** Whether the offer may be asked now. Only a hint: where its breaker can't be reached, it may. */
export const admits = async (env: Env, offer: Named, asking: Asking): Promise<boolean> => {
  const name = nameOf(offer)
  if (isSound(name)) return true
  try {
    const { admitted, failures } = await breakerOf(env, offer).admits(asking)
    if (failures === 0) sound.set(name, Date.now())
    else sound.delete(name)
    return admitted
  } catch (error) {
    noteUnreachable(name)(error)
    return true
  }
}

const isNoFault: Reason[] = ['too_many_requests', 'no_input']

/** How a call went, for other jobs; it must not cost this one. */
export const report = async (env: Env, offer: Named, failure: Failure | undefined): Promise<void> => {
  // Too many requests slow us down; what is the caller's fault, or our storage's, says nothing of the offer.
  if (failure && (isNoFault.includes(failure.reason) || reasons[failure.reason].whoFixes === 'caller')) return
  if (failure) sound.delete(nameOf(offer))
  else if (isSound(nameOf(offer))) return
  const fault = failure && reasons[failure.reason].whoFixes === 'operator' ? failure.reason : undefined
  await breakerOf(env, offer)
    .report({ succeeded: failure === undefined, ...(fault && { fault }) })
    .catch(noteUnreachable(nameOf(offer)))
}
