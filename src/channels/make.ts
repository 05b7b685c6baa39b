/** Makes a copy of an asset that a channel accepts, or says why none can be made without a model. */
import type { Asset } from '../assets/assets.ts'
import {
  convert,
  isConvertible,
  MAX_PIXELS,
  mostOf,
  movingOrStill,
  openConvertible,
  orJudge,
  UnusablePhoto,
} from '../assets/images.ts'
import { withoutMetadata } from '../assets/metadata.ts'
import { stemOf } from '../assets/names.ts'
import { readPng, writePng } from '../assets/png.ts'
import { isSourceType, markAsGenerated, type SourceType } from '../assets/provenance.ts'
import { putObject, type StoredObject } from '../assets/put.ts'
import { deleteObject } from '../assets/storage.ts'
import type { JobCtx } from '../context.ts'
import { AppError } from '../errors.ts'
import { readChunks, toStream } from '../streams.ts'
import type { Channel, ExportRefusal } from '../words.ts'
import { type Check, demandsOf, type Facts, factsOf, isMadeHere, judgeAll } from './checks.ts'
import { compose } from './compose.ts'
import { filmChunks } from './fast-start.ts'
import type { Box, PixelMeasures } from './pixels.ts'
import type { Target } from './rules.ts'

export type Made = (StoredObject & { name: string }) | { refusal: ExportRefusal }

/** Of a JPEG, tried in turn until it is light enough. */
const QUALITIES = [92, 85, 75, 60]

const refusal = (
  code: ExportRefusal['code'],
  detail: string,
  helps: ExportRefusal['helps'] = null,
): { refusal: ExportRefusal } => ({ refusal: { code, detail, helps } })

interface Plan {
  part: Box
  /** Of the picture's own size; nothing is enlarged. */
  scale: number
  /** Pixels of what is made of a part of that size. */
  canvas: (width: number, height: number) => { width: number; height: number }
}

/** The product: what a cutout leaves, or what stands on white. */
const outlineOf = ({ transparent, opaque, product, background }: PixelMeasures): Box | null => {
  if (transparent) return opaque
  return background.pixels > 0 && background.notWhite === 0 ? product : null
}

const planProduct = (
  target: Extract<Target, { kind: 'product' }>,
  measures: PixelMeasures,
): Plan | { refusal: ExportRefusal } => {
  const part = outlineOf(measures)
  if (!part) {
    const detail = 'Nothing tells the product from its background: it is neither transparent nor pure white.'
    return refusal('no_cutout', detail, 'cutout')
  }
  const side = Math.max(part.right - part.left, part.bottom - part.top)
  const scale = Math.min(1, (target.fill * target.side) / side)
  const made = Math.round((side * scale) / target.fill)
  if (made < target.least) {
    const least = Math.ceil(target.least * target.fill)
    return refusal('too_small', `The product is ${side} px long, and has to be ${least} px.`, 'upscale')
  }
  return {
    part,
    scale,
    canvas: (width, height) => {
      const square = Math.min(target.side, Math.round(Math.max(width, height) / target.fill))
      return { width: square, height: square }
    },
  }
}

const planWhole = (
  target: Extract<Target, { kind: 'whole' }>,
  { width, height }: PixelMeasures,
): Plan | { refusal: ExportRefusal } => {
  const [least, most] = target.aspect ?? [0, Number.POSITIVE_INFINITY]
  /** On as much white as its shape needs. */
  const canvas = (wide: number, high: number) => ({
    width: wide / high < least ? Math.ceil(high * least) : wide,
    height: wide / high > most ? Math.ceil(wide / most) : high,
  })
  const whole = canvas(width, height)
  const scale = Math.min(1, target.width / whole.width, target.height / whole.height)
  if (whole.width * scale < target.least) {
    return refusal(
      'too_small',
      `It is ${width} x ${height} px, and has to be ${target.least} px wide.`,
      'upscale',
    )
  }
  return { part: { left: 0, top: 0, right: width, bottom: height }, scale, canvas }
}

/** A box of one picture in another of the same, whose size is a little off what was asked for. */
const scaled = (box: Box, from: PixelMeasures, to: { width: number; height: number }): Box => ({
  left: Math.floor((box.left * to.width) / from.width),
  top: Math.floor((box.top * to.height) / from.height),
  right: Math.ceil((box.right * to.width) / from.width),
  bottom: Math.ceil((box.bottom * to.height) / from.height),
})

/** The JPEG of a plan, as it streams. */
const composed = async (ctx: JobCtx, asset: Asset, plan: Plan, measures: PixelMeasures, quality: number) => {
  const wanted = {
    width: Math.max(1, Math.round(measures.width * plan.scale)),
    height: Math.max(1, Math.round(measures.height * plan.scale)),
    format: 'image/png',
  } as const
  const picture = await readPng(await convert(ctx, await openConvertible(ctx, asset), wanted))
  const part = scaled(plan.part, measures, picture)
  const canvas = plan.canvas(part.right - part.left, part.bottom - part.top)
  const png = toStream(writePng(canvas.width, canvas.height, compose(picture, { part, ...canvas })))
  return convert(ctx, png, { ...canvas, format: 'image/jpeg', quality })
}

/** Where an export goes, and what it keeps of the original. */
interface Way {
  outputId: string
  name: string
  sourceType: SourceType | undefined
  most: number
}

const store = (ctx: JobCtx, { outputId, name, sourceType, most }: Way, chunks: AsyncIterable<Uint8Array>) =>
  putObject(
    ctx.env,
    { workspaceId: ctx.workspaceId, id: outputId, name },
    sourceType ? markAsGenerated(chunks, sourceType) : chunks,
    most,
  )

/** Nothing if it is heavier than the channel takes. */
const orTooHeavy = (storing: Promise<StoredObject>): Promise<StoredObject | undefined> =>
  storing.catch((thrown: unknown) => {
    if (thrown instanceof AppError && thrown.code === 'payload_too_large') return undefined
    throw thrown
  })

/** The first of the qualities that is light enough. */
const storeLightest = async (
  ctx: JobCtx,
  asset: Asset,
  way: Way,
  make: (quality: number) => Promise<AsyncIterable<Uint8Array>>,
): Promise<StoredObject | undefined> => {
  for (const quality of QUALITIES) {
    const stored = await orJudge(ctx, asset, async () => orTooHeavy(store(ctx, way, await make(quality))))
    if (stored) return stored
  }
  return undefined
}

const makePicture = async (
  ctx: JobCtx,
  { asset, pixels }: Facts,
  target: Exclude<Target, { kind: 'film' }>,
  way: Way,
): Promise<StoredObject | undefined | { refusal: ExportRefusal }> => {
  if (target.kind === 'light') {
    const { width, height } = target
    return storeLightest(ctx, asset, way, (quality) =>
      movingOrStill(asset, async (anim) => {
        const wanted = { width, height, format: 'image/webp', quality, anim } as const
        return readChunks(await convert(ctx, await openConvertible(ctx, asset), wanted))
      }),
    )
  }
  if (!pixels || typeof pixels === 'string') throw new UnusablePhoto('not measured')
  const plan = target.kind === 'product' ? planProduct(target, pixels) : planWhole(target, pixels)
  if ('refusal' in plan) return plan
  return storeLightest(ctx, asset, way, async (quality) =>
    withoutMetadata('image/jpeg', readChunks(await composed(ctx, asset, plan, pixels, quality))),
  )
}

/** What the original says that it is, or what is known of what was made here. */
const sourceTypeOf = ({ metadata: { sourceType }, isMade }: Facts): SourceType | undefined => {
  if (isSourceType(sourceType)) return sourceType
  return isMade ? 'compositeWithTrainedAlgorithmicMedia' : undefined
}

const missOf = ({ rule, found, wanted }: Check) => `${rule}: ${found ?? 'nothing'}, wanted ${wanted}`

/** The rules that are missed, with the figures. */
const missed = (channel: Channel, facts: Facts): string | undefined => {
  const { passes, checks } = judgeAll(channel, facts)
  if (passes) return undefined
  return checks
    .filter((check) => check.level === 'required' && check.passes === false)
    .map(missOf)
    .join('; ')
}

const BORDERS = { rule: 'borders' } as const
const ENDINGS: Record<string, string> = { product: 'jpg', whole: 'jpg', light: 'webp', film: 'mp4' }

/**
 * Stores the copy as `outputId`; it is one that passes the channel's own check.
 * @throws {AppError} unavailable
 */
export const makeExport = async (
  ctx: JobCtx,
  asset: Asset,
  channel: Channel,
  outputId: string,
): Promise<Made> => {
  const taken = demandsOf(channel, asset)
  if (!taken)
    return refusal(
      'wrong_kind',
      `${channel} takes no ${asset.kind}.`,
      asset.kind === 'image' ? 'animate' : null,
    )
  if (asset.kind === 'image' && !isConvertible(ctx, asset)) {
    const most = `at most ${mostOf(ctx.env) / 1e6} MB and ${MAX_PIXELS / 1e6} megapixels`
    return refusal('unreadable', `Copies are made of pictures of ${most}.`)
  }
  const { rules, target } = taken
  // What is to be placed on white is measured, whatever the rules ask.
  const needed = { product: [BORDERS], whole: [BORDERS], light: [], film: [] }[target.kind]
  const facts = await factsOf(ctx, asset, needed, isMadeHere(asset))
  const name = `${stemOf(asset.name)}-${channel}.${ENDINGS[target.kind]}`
  const way: Way = { outputId, name, sourceType: sourceTypeOf(facts), most: target.most }
  const stored = await (target.kind === 'film'
    ? storeFilm(ctx, facts, channel, way)
    : makePicture(ctx, facts, target, way)
  ).catch((thrown: unknown) => {
    if (thrown instanceof UnusablePhoto) return refusal('unreadable', 'The picture cannot be read.')
    throw thrown
  })
  if (!stored) return refusal('not_met', `No copy has at most ${target.most} bytes.`)
  if ('refusal' in stored) return stored
  const made: Asset = { ...asset, ...stored, id: outputId, objectId: outputId, source: 'export' }
  const failed = missed(channel, await factsOf(ctx, made, rules, way.sourceType !== undefined))
  if (failed === undefined) return { name, ...stored }
  await deleteObject(ctx.env, ctx.workspaceId, outputId)
  return refusal('not_met', `The copy misses ${failed}.`)
}

/** A film's pictures can't be changed here: what is missed for them is refused, and the rest is a matter of order. */
const storeFilm = async (ctx: JobCtx, facts: Facts, channel: Channel, way: Way) => {
  const { asset, film } = facts
  const { checks } = judgeAll(channel, facts)
  const unmet = checks.filter(
    ({ rule, level, passes }) =>
      level === 'required' && passes === false && rule !== 'moov_first' && rule !== 'ai_marking',
  )
  if (unmet.length > 0 || !film) {
    const reasons = unmet.map(missOf)
    return refusal('not_met', `Films are not encoded anew here: ${reasons.join('; ') || 'it is no MP4'}.`)
  }
  const chunks = await filmChunks(ctx.env, asset, film)
  if (!chunks) return refusal('unreadable', 'The index of the film cannot be moved to its beginning.')
  return orTooHeavy(store(ctx, way, chunks))
}
