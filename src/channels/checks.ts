/** Holds a picture or film against a channel's rules: what was found and what is wanted, rule by rule. */
import { type Asset, getAsset } from '../assets/assets.ts'
import { type Film, readFilm } from '../assets/film.ts'
import {
  convert,
  isConvertible,
  MAX_ANSWER,
  openConvertible,
  orJudge,
  UnusablePhoto,
} from '../assets/images.ts'
import { type Metadata, metadataOf } from '../assets/metadata.ts'
import { readPng } from '../assets/png.ts'
import { isSourceType } from '../assets/provenance.ts'
import type { Ctx } from '../context.ts'
import { AppError } from '../errors.ts'
import type { Channel, Task } from '../words.ts'
import { measurePixels, type PixelMeasures } from './pixels.ts'
import { demands, type Rule } from './rules.ts'

export interface Check {
  rule: Rule['rule'] | 'kind'
  level: Rule['level']
  /** Null where it can't be told. */
  passes: boolean | null
  /** Null where nothing was. */
  found: string | null
  wanted: string
  /** What may help where it does not pass. */
  helps: 'export' | Task | null
  source: string | null
  asOf: string | null
}

export interface Report {
  channel: Channel
  /** Whether all that is required is met; what could not be looked at is not. */
  passes: boolean
  checks: Check[]
}

/** What is known of a file; `pixels` only if a rule asks for them. */
export interface Facts {
  asset: Asset
  metadata: Metadata
  film: Film | undefined
  /** Measured, or where no rule asks for that only tried; `unseen`: too large for that. */
  pixels: PixelMeasures | 'readable' | 'unreadable' | 'unseen' | undefined
  /** Whether a model made it. */
  isMade: boolean
}

type Readers = Pick<Ctx, 'env' | 'log'>

/** Pixels a side of a picture that is made only to see whether one can be. */
const GLANCE = 64

const byPixels: readonly Rule['rule'][] = ['background', 'fill', 'borders']
/** What Cloudflare Images reads on some accounts only, and its stand-ins do not. */
const MAYBE_READ = ['image/avif', 'image/heic']

/** Reads every pixel, upright and in sRGB, or has it read. @throws {AppError} unavailable */
const look = async (ctx: Readers, asset: Asset, isMeasured: boolean): Promise<Facts['pixels']> => {
  if (!isConvertible(ctx, asset)) return 'unseen'
  const convertTo = async (side: number) => {
    const wanted = { width: side, height: side, format: 'image/png' } as const
    return convert(ctx, await openConvertible(ctx, asset), wanted)
  }
  try {
    return await orJudge(ctx, asset, async () => {
      if (isMeasured) return measurePixels(await readPng(await convertTo(MAX_ANSWER)))
      await new Response(await convertTo(GLANCE)).bytes()
      return 'readable'
    })
  } catch (thrown) {
    if (thrown instanceof UnusablePhoto) return 'unreadable'
    throw thrown
  }
}

/** @throws {AppError} unavailable */
export const factsOf = async (
  ctx: Readers,
  asset: Asset,
  rules: readonly Pick<Rule, 'rule'>[],
  isMade: boolean,
): Promise<Facts> => ({
  asset,
  metadata: await metadataOf(ctx.env, asset),
  film: asset.mimeType === 'video/mp4' ? await readFilm(ctx.env, asset) : undefined,
  pixels:
    asset.kind === 'image' && rules.some(({ rule }) => rule === 'intact' || byPixels.includes(rule))
      ? await look(
          ctx,
          asset,
          rules.some(({ rule }) => byPixels.includes(rule)),
        )
      : undefined,
  isMade,
})

type Result = Pick<Check, 'passes' | 'found' | 'wanted' | 'helps'>

const bytes = (count: number) => (count < 100_000 ? `${count} bytes` : `${(count / 1e6).toFixed(2)} MB`)
const within = (value: number, { min = 0, max = Number.POSITIVE_INFINITY }: { min?: number; max?: number }) =>
  value >= min && value <= max
const rangeOf = ({ min, max }: { min?: number; max?: number }, unit: string) => {
  if (min === undefined || min === 0) return `at most ${max} ${unit}`
  return max === undefined ? `at least ${min} ${unit}` : `${min} to ${max} ${unit}`
}
const decimal = (value: number) => String(Number(value.toFixed(2)))

/** Of a film its index knows, of a picture the row. */
const sizeOf = ({ asset, film }: Facts) => ({
  width: film?.width ?? asset.width,
  height: film?.height ?? asset.height,
})

const unknown = (wanted: string): Result => ({ passes: null, found: null, wanted, helps: null })

const judgeSize = (rule: Extract<Rule, { rule: 'size' }>, facts: Facts): Result => {
  const { width, height } = sizeOf(facts)
  const wanted = `${rule.of} ${rangeOf(rule, 'px')}`
  if (width === null || height === null) return unknown(wanted)
  const value = {
    width,
    height,
    'longer side': Math.max(width, height),
    'shorter side': Math.min(width, height),
  }[rule.of]
  const isSmall = value < (rule.min ?? 0)
  const helps = facts.asset.kind !== 'image' ? null : isSmall ? 'upscale' : 'export'
  return { passes: within(value, rule), found: `${width} x ${height} px`, wanted, helps }
}

const judgeBackground = (measures: PixelMeasures, { width }: Asset): Result => {
  const { pixels, notWhite, darkest } = measures.background
  const wanted = 'every pixel more than 16 px from the product is #ffffff'
  const at = measures.width === width ? '' : `, at ${measures.width} x ${measures.height} px`
  const share = pixels > 0 && `${notWhite} of ${pixels} are not, the darkest at ${darkest} of 255${at}`
  const found = measures.transparent
    ? 'transparent'
    : share || `none that is nearly white; most of the upper edge is ${measures.ground}`
  return {
    passes: !measures.transparent && pixels > 0 && notWhite === 0,
    found,
    wanted,
    helps: measures.transparent ? 'export' : 'cutout',
  }
}

/** Percent of the side that the product fills more of; undefined where nothing tells it from the rest. */
const fillOf = ({ product, opaque, transparent, width, height }: PixelMeasures): number | undefined => {
  const box = transparent ? opaque : product
  return box ? 100 * Math.max((box.right - box.left) / width, (box.bottom - box.top) / height) : undefined
}

const judgeFill = (rule: Extract<Rule, { rule: 'fill' }>, measures: PixelMeasures): Result => {
  const fill = fillOf(measures)
  const wanted = rangeOf(rule, '%')
  if (fill === undefined) {
    return { passes: false, found: 'nothing tells the product from its background', wanted, helps: 'cutout' }
  }
  const found = `${decimal(fill)} % of the ${measures.width} x ${measures.height} px`
  return { passes: within(fill, rule), found, wanted, helps: 'export' }
}

const judgeBorders = ({ frame, ground }: PixelMeasures): Result => {
  const sides = Object.entries(frame).filter(([, pixels]) => pixels > 0)
  const isWhite = ['r', 'g', 'b'].every(
    (_, i) => Number.parseInt(ground.slice(1 + 2 * i, 3 + 2 * i), 16) >= 250,
  )
  const found = sides.map(([side, pixels]) => `${side} ${pixels} px of ${ground}`).join(', ')
  const passes = sides.length === 0 || isWhite
  return { passes, found: passes ? 'none' : found, wanted: 'none', helps: 'cutout' }
}

const judgeColours = ({ colours, profile, isStandard }: Metadata): Result => {
  const found = colours && `${colours}, ${profile ?? 'no profile, which is read as sRGB'}`
  return {
    passes: colours === null ? null : colours !== 'cmyk' && (isStandard || colours === 'grey'),
    found,
    wanted: 'sRGB',
    helps: 'export',
  }
}

const judgeMarking = ({ metadata, isMade }: Facts): Result => ({
  passes: !isMade || isSourceType(metadata.sourceType),
  found: metadata.sourceType ?? (metadata.hasManifest ? 'a C2PA manifest' : null),
  wanted: isMade ? "IPTC's DigitalSourceType" : "IPTC's DigitalSourceType, if a model made it",
  helps: 'export',
})

type FilmRule = Extract<
  Rule,
  { rule: 'duration' | 'video_codec' | 'audio_codec' | 'frame_rate' | 'moov_first' }
>

/** By what stands in a film's index. */
const judgeFilm = (rule: FilmRule, film: Film): Result => {
  switch (rule.rule) {
    case 'duration': {
      const { durationSeconds: seconds } = film
      const wanted = rangeOf(rule, 's')
      if (seconds === null) return unknown(wanted)
      return { passes: within(seconds, rule), found: `${decimal(seconds)} s`, wanted, helps: null }
    }
    case 'video_codec': {
      const found = film.videoCodec
      return {
        passes: rule.codecs.includes(found ?? ''),
        found,
        wanted: rule.codecs.join(' or '),
        helps: null,
      }
    }
    case 'audio_codec': {
      const { audioCodec } = film
      const wanted = `${rule.codecs.join(' or ')}, or no sound`
      return {
        passes: audioCodec === null || rule.codecs.includes(audioCodec),
        found: audioCodec ?? 'no sound',
        wanted,
        helps: null,
      }
    }
    case 'frame_rate': {
      const wanted = rangeOf(rule, 'frames a second')
      if (film.frameRate === null) return unknown(wanted)
      // A film is timed in whole ticks.
      const rate = Math.round(film.frameRate * 100) / 100
      return { passes: within(rate, rule), found: `${rate} frames a second`, wanted, helps: null }
    }
    case 'moov_first': {
      const order = film.boxes.map(({ type }) => type)
      const passes = order.indexOf('mdat') < 0 || order.indexOf('moov') < order.indexOf('mdat')
      return { passes, found: order.join(' '), wanted: 'moov before mdat', helps: 'export' }
    }
  }
}

const NOT_READ = 'a picture whose pixels cannot be read'
const UNSEEN = 'a picture that is too large to be looked at'

/** All of the file, as far as can be told. */
const judgeIntact = ({ asset, film, pixels }: Facts): Result => {
  if (asset.kind === 'image') {
    const wanted = 'a picture that can be read'
    if (pixels === undefined) return unknown(wanted)
    if (pixels === 'unseen') return { ...unknown(wanted), found: UNSEEN }
    if (pixels !== 'unreadable') return { passes: true, found: 'one that can', wanted, helps: null }
    const passes = MAYBE_READ.includes(asset.mimeType) ? null : false
    return { passes, found: NOT_READ, wanted, helps: null }
  }
  const wanted = 'all of the file'
  if (film) {
    const passes = film.claimed <= asset.size
    const found = passes ? `all of ${asset.size} bytes` : `${asset.size} of ${film.claimed} bytes`
    return { passes, found, wanted, helps: null }
  }
  if (asset.mimeType !== 'video/mp4') return unknown('what an MP4 says of itself')
  return { passes: false, found: 'no index, or none that can be read', wanted, helps: null }
}

const judge = (rule: Rule, facts: Facts): Result => {
  const { asset, pixels, film, metadata } = facts
  switch (rule.rule) {
    case 'format': {
      const helps = asset.kind === 'image' ? 'export' : null
      const passes = rule.formats.includes(asset.mimeType)
      return { passes, found: asset.mimeType, wanted: rule.formats.join(', '), helps }
    }
    case 'weight': {
      const helps = asset.kind === 'image' ? 'export' : null
      return {
        passes: asset.size <= rule.max,
        found: bytes(asset.size),
        wanted: `at most ${bytes(rule.max)}`,
        helps,
      }
    }
    case 'size':
      return judgeSize(rule, facts)
    case 'area': {
      const { width, height } = sizeOf(facts)
      const wanted = `at most ${rule.max / 1e6} megapixels`
      if (width === null || height === null) return unknown(wanted)
      const area = width * height
      return { passes: area <= rule.max, found: `${decimal(area / 1e6)} megapixels`, wanted, helps: 'export' }
    }
    case 'aspect': {
      const { width, height } = sizeOf(facts)
      if (!width || !height) return unknown(rule.as)
      const passes = rule.ranges.some(([min, max]) => within(width / height, { min, max }))
      const helps = asset.kind === 'image' ? 'export' : 'animate'
      return { passes, found: `${decimal(width / height)}:1`, wanted: rule.as, helps }
    }
    case 'colour_space':
      return judgeColours(metadata)
    case 'ai_marking':
      return judgeMarking(facts)
    case 'background':
    case 'fill':
    case 'borders': {
      const wanted = 'a picture that can be read'
      if (pixels === undefined) return unknown(wanted)
      if (typeof pixels === 'string') {
        return { passes: false, found: pixels === 'unseen' ? UNSEEN : NOT_READ, wanted, helps: null }
      }
      if (rule.rule === 'background') return judgeBackground(pixels, asset)
      return rule.rule === 'fill' ? judgeFill(rule, pixels) : judgeBorders(pixels)
    }
    case 'intact':
      return judgeIntact(facts)
    default:
      return film ? judgeFilm(rule, film) : unknown('what an MP4 says of itself')
  }
}

/** The rules for a kind of file; undefined where the channel takes none of it. */
export const demandsOf = (channel: Channel, { kind }: Pick<Asset, 'kind'>) =>
  kind === 'document' ? undefined : demands[channel][kind]

export const judgeAll = (channel: Channel, facts: Facts): Report => {
  const { kind } = facts.asset
  const taken = demandsOf(channel, facts.asset)
  if (!taken) {
    const wanted = Object.keys(demands[channel]).join(' or ')
    const helps = kind === 'image' && wanted === 'video' ? 'animate' : null
    const check = { passes: false, found: kind, wanted, helps, source: null, asOf: null } as const
    return { channel, passes: false, checks: [{ rule: 'kind', level: 'required', ...check }] }
  }
  const checks = taken.rules.map((rule): Check => {
    const result = judge(rule, facts)
    const { level, source, asOf } = rule
    return { rule: rule.rule, level, ...result, helps: result.passes ? null : result.helps, source, asOf }
  })
  return {
    channel,
    passes: !checks.some(({ level, passes }) => level === 'required' && passes !== true),
    checks,
  }
}

/** What a model made here is known by its source, and what came of it by its own marking. */
export const isMadeHere = ({ source }: Asset) => source === 'generation'

/** Measured once, for as many channels as are asked for. @throws {AppError} not_found, upload_incomplete, unavailable */
export const checkAsset = async (ctx: Ctx, id: string, channels: readonly Channel[]): Promise<Report[]> => {
  const asset = await getAsset(ctx, id)
  if (asset.status === 'pending') throw new AppError('upload_incomplete')
  const rules = channels.flatMap((channel) => demandsOf(channel, asset)?.rules ?? [])
  const facts = await factsOf(ctx, asset, rules, isMadeHere(asset)).catch(async (fault: unknown) => {
    // Deleted meanwhile, it is not there either.
    await getAsset(ctx, id)
    throw fault
  })
  return channels.map((channel) => judgeAll(channel, facts))
}
