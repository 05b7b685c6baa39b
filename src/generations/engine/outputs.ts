/** Copies results to storage, under the keys of the provider's job that made them. */
import { markAsGenerated, type SourceType } from '../../assets/provenance.ts'
import { putObject, type StoredObject } from '../../assets/put.ts'
import { PATIENCE, STEP_PATIENCE } from '../../assets/storage.ts'
import type { JobCtx } from '../../context.ts'
import { AppError, describeError } from '../../errors.ts'
import { readChunks } from '../../streams.ts'
import type { StoredOutput } from '../../words.ts'
import type { Claim } from './claims.ts'
import type { ProviderJob } from './jobs.ts'

/** Bytes of one output. */
const MAX_OUTPUT = 100 * 1024 * 1024
/** Milliseconds without a byte after which an output counts as broken. */
const STALL_TIMEOUT = 10_000
/** For results that can't be fetched again: storage that is away for minutes does not cost them. */
const LONG_PATIENCE = { attempts: 100, each: 15_000, all: 300_000 }
/** Milliseconds for which storage has taken nothing when results go to the second one, if one is set. */
const AWAY = 120_000

/** An output that was fetched in vain: gone or useless, so that fetching it again will not help for long. */
class BrokenOutput extends Error {}

/** What is made from the merchant's photos is a composite of them and the model's own. */
const sourceTypeOf = ({ inputAssetIds }: Claim): SourceType =>
  inputAssetIds.length > 0 ? 'compositeWithTrainedAlgorithmicMedia' : 'trainedAlgorithmicMedia'

const nameOf = (claim: Claim, index: number) =>
  [claim.style ?? claim.task, claim.kind, claim.id.slice(-6), index + 1].join('-')

/** Of the types that an output may have. */
const extensionOf = (mimeType: string) => mimeType.replace(/^.*\//, '').replace('jpeg', 'jpg')

/** The bytes behind a URL, given up on when nothing comes for a while. */
const download = async function* (url: string): AsyncGenerator<Uint8Array> {
  const abort = new AbortController()
  const giveUp = () => abort.abort(new Error('the output stalled'))
  let timer = setTimeout(giveUp, STALL_TIMEOUT)
  try {
    const { ok, status, body } = await fetch(url, { signal: abort.signal })
    if (!ok || !body) {
      const message = `output answered ${status}`
      throw status >= 500 || status === 429 ? new Error(message) : new BrokenOutput(message)
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

interface Storing {
  /** It can't be fetched again. */
  comesOnce: boolean
  /** What of the same call is in storage. */
  before: readonly StoredOutput[]
}

/** How long storage is tried before the second one; undefined while it is waited for. */
const patienceBefore = ({ resultsAt, jobs }: Claim, { comesOnce, before }: Storing) => {
  const known = [...jobs.flatMap(({ stored }) => stored), ...before]
  if (known.some(({ object }) => object.store === 'fallback')) return STEP_PATIENCE
  if (comesOnce) return { ...LONG_PATIENCE, all: AWAY }
  return resultsAt !== null && Date.now() - resultsAt.getTime() > AWAY ? PATIENCE : undefined
}

/** Stores the bytes as the job's output at this place in its list. */
export const storeOutput = async (
  ctx: JobCtx,
  claim: Claim,
  job: Pick<ProviderJob, 'indexes' | 'objectIds'>,
  place: number,
  bytes: AsyncIterable<Uint8Array>,
  options: Storing,
): Promise<StoredOutput> => {
  const [index, objectId] = [job.indexes[place], job.objectIds[place]]
  if (index === undefined || objectId === undefined) throw new TypeError('more results than were asked for')
  const name = nameOf(claim, index)
  const object: StoredObject = await putObject(
    ctx.env,
    { workspaceId: ctx.workspaceId, id: objectId, name },
    markAsGenerated(bytes, sourceTypeOf(claim)),
    MAX_OUTPUT,
    {
      patience: options.comesOnce ? LONG_PATIENCE : PATIENCE,
      orFallbackAfter: patienceBefore(claim, options),
    },
  )
  // An error page is a text, and some models answer with a description.
  if (object.kind !== claim.kind) {
    throw new AppError('unsupported_media_type', { cause: new Error(`the output is ${object.mimeType}`) })
  }
  return { index, objectId, name: `${name}.${extensionOf(object.mimeType)}`, object }
}

/**
 * Stores what is at these URLs and not in storage yet. Storage that is away, or a source that does not answer, costs
 * time and never the results: the provider made them, and they are not bought again.
 */
export const storeUrls = async (ctx: JobCtx, claim: Claim, job: ProviderJob, urls: string[]) => {
  const stored = [...job.stored]
  let broken = false
  let waiting = false
  for (const [place, index] of job.indexes.entries()) {
    const url = urls[place]
    if (url === undefined || stored.some((known) => known.index === index)) continue
    try {
      stored.push(
        await storeOutput(ctx, claim, job, place, download(url), { comesOnce: false, before: stored }),
      )
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
  return { stored, broken, waiting }
}
