/** Copies a provider's outputs to storage, under the keys that the job has had from the start. */
import { MAX_UPLOAD } from '../../assets/assets.ts'
import { putObject, type StoredObject } from '../../assets/storage.ts'
import type { JobCtx } from '../../context.ts'
import { AppError, describeError } from '../../errors.ts'
import type { JobOutput } from '../../providers/provider.ts'
import { readChunks } from '../../streams.ts'
import type { Claim, StoredOutput } from './claims.ts'
import { failed, type Outcome } from './outcome.ts'

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
    if (!ok || !body) throw new Error(`output answered ${status}`)
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
    MAX_UPLOAD,
  )

/** Stores what has arrived; storing twice overwrites the same objects. @throws {AppError} unavailable (storage) */
export const storeOutputs = async (ctx: JobCtx, claim: Claim, outputs: JobOutput[]): Promise<Outcome> => {
  const stored: StoredOutput[] = []
  let lost = false
  for (const [index, assetId] of claim.outputAssetIds.entries()) {
    const output = outputs[index]
    if (!output) break
    const name = outputName(claim, index)
    try {
      stored.push({ index, assetId, name, object: await copyOutput(ctx, output, assetId, name) })
    } catch (error) {
      if (error instanceof AppError && error.code === 'unavailable') throw error
      ctx.log({
        level: 'warn',
        message: 'output lost',
        generationId: claim.id,
        index,
        error: describeError(error),
      })
      lost = true
    }
  }
  // What broke may work in a moment; what never does is not charged.
  const outputAttempts = claim.outputAttempts + 1
  if (lost && claim.providerJobId && outputAttempts < MAX_OUTPUT_ATTEMPTS) {
    return { is: 'again', after: 2 ** outputAttempts, changes: { outputAttempts } }
  }
  return stored.length > 0 ? { is: 'stored', outputs: stored } : failed('no_output')
}
