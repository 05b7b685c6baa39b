/** Copies a provider's outputs to storage, under the keys that the job has had from the start. */
import { putObject, type StoredObject } from '../../assets/storage.ts'
import type { JobCtx } from '../../context.ts'
import { AppError, describeError } from '../../errors.ts'
import { isPassing, type JobOutput } from '../../providers/provider.ts'
import { readChunks } from '../../streams.ts'
import type { Claim } from './claims.ts'
import { failed, type Outcome } from './outcome.ts'

/** Bytes of one output. */
const MAX_OUTPUT = 100 * 1024 * 1024
/** Times that a missing or broken output is fetched again before the job goes on without it. */
const MAX_OUTPUT_ATTEMPTS = 3
/** Milliseconds without a byte after which an output counts as broken. */
const STALL_TIMEOUT = 10_000

const outputName = (claim: Claim, index: number) =>
  [claim.style, claim.kind, claim.id.slice(-6), index + 1].filter(Boolean).join('-')

/** The bytes behind a URL, given up on when nothing comes for a while. */
const download = async function* (url: string): AsyncGenerator<Uint8Array> {
  const abort = new AbortController()
  const giveUp = () => abort.abort(new Error('the output stalled'))
  let timer = setTimeout(giveUp, STALL_TIMEOUT)
  try {
    const { ok, status, body } = await fetch(url, { signal: abort.signal })
    if (!ok || !body) {
      const message = `output answered ${status}`
      throw isPassing(status) ? new Error(message) : new BrokenOutput(message)
    }
    for await (const chunk of readChunks(body)) {
      clearTimeout(timer)
      yield chunk
      timer = setTimeout(giveUp, STALL_TIMEOUT)
    }
  } finally {
    clearTimeout(timer)
    abort.abort()
  }
}

const decode = async function* (base64: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(base64, 'base64')
}

const copyOutput = (ctx: JobCtx, output: JobOutput, assetId: string, name: string): Promise<StoredObject> =>
  putObject(
    ctx.env,
    { workspaceId: ctx.workspaceId, assetId, name },
    'url' in output ? download(output.url) : decode(output.base64),
    MAX_OUTPUT,
  )

/** An output that was fetched in vain: gone or useless, so that fetching it again will not help for long. */
class BrokenOutput extends Error {}

/** Results that wait for storage, or for a source that does not answer, are tried again at growing intervals. */
const storingDelay = ({ resultsAt }: Claim): number => {
  const seconds = resultsAt ? (Date.now() - resultsAt.getTime()) / 1000 : 0
  return Math.ceil(Math.min(300, Math.max(5, seconds / 10)))
}

/**
 * Stores what has arrived and is not in storage yet. Storage that is away, or a source that does not answer, costs
 * time and never the results: the provider made them, and they are not bought again.
 */
export const storeOutputs = async (ctx: JobCtx, claim: Claim, outputs: JobOutput[]): Promise<Outcome> => {
  const stored = [...claim.storedOutputs]
  let broken = false
  let waiting = false
  for (const [index, assetId] of claim.outputAssetIds.entries()) {
    const output = outputs[index]
    if (!output || stored.some((known) => known.index === index)) continue
    const name = outputName(claim, index)
    try {
      stored.push({ index, assetId, name, object: await copyOutput(ctx, output, assetId, name) })
    } catch (error) {
      const isBroken =
        error instanceof BrokenOutput || (error instanceof AppError && error.code !== 'unavailable')
      if (isBroken) broken = true
      else waiting = true
      ctx.log({
        level: 'warn',
        message: 'output not stored',
        generationId: claim.id,
        index,
        error: describeError(error),
      })
    }
  }
  const canFetchAgain = claim.providerJobId !== null
  // What can't be fetched again is lost with this step, and is another submission.
  if (waiting && !canFetchAgain) return { is: 'again', after: storingDelay(claim) }
  if (waiting) return { is: 'storing', after: storingDelay(claim), changes: { storedOutputs: stored } }
  // What broke may work in a moment; what never does is not charged.
  const outputAttempts = claim.outputAttempts + 1
  if (broken && canFetchAgain && outputAttempts < MAX_OUTPUT_ATTEMPTS) {
    return { is: 'storing', after: 2 ** outputAttempts, changes: { storedOutputs: stored, outputAttempts } }
  }
  return stored.length > 0 ? { is: 'stored', outputs: stored } : failed('no_output')
}
