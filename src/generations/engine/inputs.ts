/** A job's photos, as providers are sent them. */
import { UnusablePhoto } from '../../assets/images.ts'
import { type PreparedAsset, prepareInput } from '../../assets/inputs.ts'
import type { JobCtx } from '../../context.ts'
import { describeError } from '../../errors.ts'
import type { Claim } from './claims.ts'
import { failed, type Outcome } from './outcome.ts'

/** With all photos prepared. */
export type ReadyClaim = Omit<Claim, 'inputs'> & { inputs: PreparedAsset[] }

/** One photo after the other, since each passes through whole. */
export const prepareInputs = async (ctx: JobCtx, claim: Claim): Promise<ReadyClaim | Outcome> => {
  const inputs: PreparedAsset[] = []
  try {
    for (const asset of claim.inputs) inputs.push(await prepareInput(ctx, asset))
  } catch (thrown) {
    if (!(thrown instanceof UnusablePhoto)) throw thrown
    const error = describeError(thrown)
    ctx.log({ level: 'warn', message: 'a photo is unusable', generationId: claim.id, error })
    return failed('input_rejected')
  }
  return { ...claim, inputs }
}
