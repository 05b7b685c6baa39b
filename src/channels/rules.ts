/** What sales channels demand of pictures and films, as data: each rule with where it is written and when that was read. */
import type { Channel } from '../words.ts'

/** What a rule looks at, and within which figures it holds. */
type Demand =
  | { rule: 'format'; formats: readonly string[] }
  /** Bytes. */
  | { rule: 'weight'; max: number }
  /** Pixels. */
  | { rule: 'size'; of: 'width' | 'height' | 'longer side' | 'shorter side'; min?: number; max?: number }
  /** Pixels in all. */
  | { rule: 'area'; max: number }
  /** Width by height: within one of the ranges. */
  | { rule: 'aspect'; ranges: readonly (readonly [min: number, max: number])[]; as: string }
  /** Every pixel around the product is #ffffff. */
  | { rule: 'background' }
  /** Percent of the picture's width or height, whichever the product fills more of. */
  | { rule: 'fill'; min: number; max: number }
  /** No frame of another colour than white. */
  | { rule: 'borders' }
  | { rule: 'colour_space' }
  /** IPTC's DigitalSourceType in what a model made. */
  | { rule: 'ai_marking' }
  /** Seconds. */
  | { rule: 'duration'; min: number; max: number }
  | { rule: 'video_codec'; codecs: readonly string[] }
  /** Of sound, if there is any. */
  | { rule: 'audio_codec'; codecs: readonly string[] }
  /** Frames a second. */
  | { rule: 'frame_rate'; min: number; max: number }
  /** The film's index comes before its pictures, so that it plays while it loads. */
  | { rule: 'moov_first' }
  /** No part of a film is missing; a picture can be read. */
  | { rule: 'intact' }

export type Rule = Demand & {
  /** What a channel refuses, and what it only shows worse. */
  level: 'required' | 'recommended'
  source: string
  /** Month in which the source was read. */
  asOf: string
}

/** What an export makes. */
export type Target =
  /** The product alone, in the middle of a white square of at most so many pixels a side. */
  | { kind: 'product'; side: number; least: number; fill: number; most: number }
  /** The whole picture, within so many pixels, on as much white as its shape needs; at least so wide. */
  | {
      kind: 'whole'
      width: number
      height: number
      least: number
      aspect?: readonly [number, number]
      most: number
    }
  /** As it is but smaller, transparent and moving if it is, as WebP. */
  | { kind: 'light'; width: number; height: number; most: number }
  /** The same film, with its index first. */
  | { kind: 'film'; most: number }

interface Demands {
  rules: readonly Rule[]
  target: Target
}

const from = (source: string, asOf: string) => {
  const at =
    (level: Rule['level']) =>
    (demand: Demand): Rule => ({ ...demand, level, source, asOf })
  return { required: at('required'), recommended: at('recommended') }
}

const amazon = from('https://mercatuslab.com/blog/amazon-product-image-requirements', '2026-11')
const google = from('https://support.google.com/merchants/answer/6324350', '2026-11')
const googleFeeds = from('https://emberfeed.com/specs/google-merchant-image-requirements-2026', '2026-11')
const shopify = from('https://shopify.dev/docs/apps/build/online-store/product-media', '2026-11')
const instagram = from('https://www.ayrshare.com/docs/media-guidelines/instagram.md', '2026-11')
const tiktok = from('https://ads.tiktok.com/help/article/video-ads-specifications', '2026-11')
/** Of nobody else: what browsers show, at sizes that screens have. */
const own = from('https://developer.mozilla.org/docs/Web/Media/Guides/Formats/Image_types', '2026-11')
/** Regulation (EU) 2024/1689, Article 50. */
const law = from('https://eur-lex.europa.eu/eli/reg/2024/1689/oj', '2026-11')

const MB = 1_000_000
const JPEG = 'image/jpeg'
const PNG = 'image/png'
const GIF = 'image/gif'
const WEBP = 'image/webp'
/** Of a film, which is rarely of an exact shape. */
const nearly = (width: number, height: number) => [(width / height) * 0.98, (width / height) * 1.02] as const

export const demands: Record<Channel, { image?: Demands; video?: Demands }> = {
  'amazon-main': {
    image: {
      rules: [
        amazon.required({ rule: 'intact' }),
        amazon.required({ rule: 'format', formats: [JPEG, PNG, GIF, 'image/tiff'] }),
        amazon.required({ rule: 'size', of: 'longer side', min: 500, max: 10_000 }),
        amazon.recommended({ rule: 'size', of: 'longer side', min: 1600 }),
        amazon.required({ rule: 'background' }),
        amazon.required({ rule: 'fill', min: 85, max: 100 }),
        amazon.required({ rule: 'borders' }),
        amazon.required({ rule: 'colour_space' }),
        law.required({ rule: 'ai_marking' }),
      ],
      target: { kind: 'product', side: 2000, least: 500, fill: 0.88, most: 10 * MB },
    },
  },
  'google-merchant': {
    image: {
      rules: [
        google.required({ rule: 'intact' }),
        google.required({ rule: 'format', formats: [JPEG, WEBP, PNG, GIF, 'image/bmp', 'image/tiff'] }),
        // From 31 January 2027 of all products; until then 100, and 250 of apparel.
        google.required({ rule: 'size', of: 'shorter side', min: 500 }),
        google.recommended({ rule: 'size', of: 'shorter side', min: 1500 }),
        google.required({ rule: 'area', max: 64 * MB }),
        google.required({ rule: 'weight', max: 16 * MB }),
        googleFeeds.recommended({ rule: 'fill', min: 75, max: 90 }),
        googleFeeds.required({ rule: 'borders' }),
        google.required({ rule: 'ai_marking' }),
      ],
      target: { kind: 'product', side: 2000, least: 500, fill: 0.85, most: 16 * MB },
    },
  },
  shopify: {
    image: {
      rules: [
        shopify.required({ rule: 'intact' }),
        shopify.required({ rule: 'format', formats: [JPEG, PNG, GIF, WEBP, 'image/heic'] }),
        shopify.required({ rule: 'size', of: 'longer side', max: 5000 }),
        shopify.required({ rule: 'area', max: 25 * MB }),
        shopify.required({ rule: 'weight', max: 20 * MB }),
        shopify.recommended({ rule: 'size', of: 'longer side', min: 2048 }),
        shopify.recommended({ rule: 'colour_space' }),
        law.required({ rule: 'ai_marking' }),
      ],
      target: { kind: 'whole', width: 2048, height: 2048, least: 1, most: 20 * MB },
    },
    video: {
      rules: [
        shopify.required({ rule: 'intact' }),
        shopify.required({ rule: 'format', formats: ['video/mp4', 'video/quicktime'] }),
        shopify.required({ rule: 'weight', max: 1000 * MB }),
        shopify.required({ rule: 'duration', min: 0, max: 600 }),
        shopify.required({ rule: 'size', of: 'longer side', max: 4096 }),
        law.required({ rule: 'ai_marking' }),
      ],
      target: { kind: 'film', most: 1000 * MB },
    },
  },
  'instagram-feed': {
    image: {
      rules: [
        instagram.required({ rule: 'intact' }),
        instagram.required({ rule: 'format', formats: [JPEG] }),
        instagram.required({ rule: 'weight', max: 8 * MB }),
        instagram.required({ rule: 'aspect', ranges: [[0.8, 1.91]], as: '4:5 to 1.91:1' }),
        instagram.required({ rule: 'size', of: 'width', min: 320, max: 1440 }),
        instagram.recommended({ rule: 'colour_space' }),
        law.required({ rule: 'ai_marking' }),
      ],
      target: { kind: 'whole', width: 1440, height: 1800, least: 320, aspect: [0.8, 1.91], most: 8 * MB },
    },
  },
  'instagram-reel': {
    video: {
      rules: [
        instagram.required({ rule: 'intact' }),
        instagram.required({ rule: 'format', formats: ['video/mp4', 'video/quicktime'] }),
        instagram.required({ rule: 'weight', max: 1000 * MB }),
        instagram.required({ rule: 'moov_first' }),
        instagram.required({ rule: 'video_codec', codecs: ['H.264', 'HEVC'] }),
        instagram.required({ rule: 'audio_codec', codecs: ['AAC'] }),
        instagram.required({ rule: 'frame_rate', min: 23, max: 60 }),
        instagram.required({ rule: 'duration', min: 3, max: 900 }),
        instagram.required({ rule: 'aspect', ranges: [nearly(9, 16)], as: '9:16' }),
        instagram.recommended({ rule: 'size', of: 'width', min: 1080 }),
        law.required({ rule: 'ai_marking' }),
      ],
      target: { kind: 'film', most: 1000 * MB },
    },
  },
  tiktok: {
    video: {
      rules: [
        tiktok.required({ rule: 'intact' }),
        tiktok.required({ rule: 'format', formats: ['video/mp4', 'video/quicktime'] }),
        tiktok.required({ rule: 'weight', max: 500 * MB }),
        tiktok.required({ rule: 'duration', min: 5, max: 60 }),
        tiktok.required({
          rule: 'aspect',
          ranges: [nearly(9, 16), nearly(1, 1), nearly(16, 9)],
          as: '9:16, 1:1 or 16:9',
        }),
        tiktok.required({ rule: 'size', of: 'shorter side', min: 540 }),
        tiktok.recommended({ rule: 'size', of: 'longer side', min: 1920 }),
        law.required({ rule: 'ai_marking' }),
      ],
      target: { kind: 'film', most: 500 * MB },
    },
  },
  web: {
    image: {
      rules: [
        own.required({ rule: 'intact' }),
        own.required({ rule: 'format', formats: [JPEG, PNG, GIF, WEBP, 'image/avif'] }),
        own.recommended({ rule: 'size', of: 'longer side', max: 2048 }),
        own.recommended({ rule: 'weight', max: MB }),
        own.required({ rule: 'colour_space' }),
        law.required({ rule: 'ai_marking' }),
      ],
      target: { kind: 'light', width: 2048, height: 2048, most: 20 * MB },
    },
    video: {
      rules: [
        own.required({ rule: 'intact' }),
        own.required({ rule: 'format', formats: ['video/mp4', 'video/webm'] }),
        own.recommended({ rule: 'moov_first' }),
        own.required({ rule: 'video_codec', codecs: ['H.264', 'VP9', 'AV1'] }),
        law.required({ rule: 'ai_marking' }),
      ],
      target: { kind: 'film', most: 500 * MB },
    },
  },
}
