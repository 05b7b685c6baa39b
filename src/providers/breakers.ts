/** The circuit breaker of each offer: one model that fails says nothing of its provider's others. */
import { type Env, objectOf } from '../env.ts'
import { type Failure, type Reason, reasons } from './failures.ts'

export const breakerOf = (env: Env, { provider, model }: { provider: string; model: string }) =>
  objectOf(env, env.BREAKER, `${provider}:${model}`)

const isNoFault: Reason[] = ['too_many_requests', 'no_input']

/** How a call went, for other jobs; it must not cost this one. */
export const report = async (
  env: Env,
  offer: { provider: string; model: string },
  failure: Failure | undefined,
): Promise<void> => {
  // Too many requests slow us down; what is the caller's fault, or our storage's, says nothing of the offer.
  if (failure && (isNoFault.includes(failure.reason) || reasons[failure.reason].whoFixes === 'caller')) return
  const fault = failure && reasons[failure.reason].whoFixes === 'operator' ? failure.reason : undefined
  await breakerOf(env, offer)
    .report({ succeeded: failure === undefined, ...(fault && { fault }) })
    .catch(() => undefined)
}
