/**
 * The built-in catalogue. Names, inputs and prices are the providers' own and perish: `npm run models:check` compares
 * them with what providers publish, and the setting MODEL_CATALOGUE replaces the whole.
 */
import type { z } from 'zod'
import type { Catalogue } from './schema.ts'

type Input = z.input<typeof Catalogue>
type OfferInput = Input[number]['offers'][number]

/** Characters: more than any request comes to, and far less than what these models take. */
const LONG_PROMPT = 4000

const sameRatios = { '1:1': '1:1', '4:3': '4:3', '3:4': '3:4', '16:9': '16:9', '9:16': '9:16' }

/** Google's image models make one picture a call, from words, photos or both. */
const nanoBanana: OfferInput = {
  provider: 'replicate',
  model: 'google/nano-banana',
  input: {
    prompt: 'prompt',
    maxPrompt: LONG_PROMPT,
    photos: { field: 'image_input', as: 'list', min: 0, max: 4 },
    shape: { field: 'aspect_ratio', values: sameRatios },
    fixed: { output_format: 'png' },
  },
  output: '',
  price: { per: 'image', usd: 0.039, checked: '2026-11-20' },
  timeout: 240,
}
const nanoBananaPro: OfferInput = {
  ...nanoBanana,
  model: 'google/nano-banana-pro',
  input: {
    ...nanoBanana.input,
    letters: true,
    photos: { field: 'image_input', as: 'list', min: 0, max: 10 },
    fixed: { output_format: 'png', resolution: '2K' },
  },
  price: { per: 'image', usd: 0.15, checked: '2026-11-20' },
}
const falNanoBanana: OfferInput = {
  provider: 'fal',
  model: 'google/nano-banana-2.1/edit',
  input: {
    prompt: 'prompt',
    maxPrompt: LONG_PROMPT,
    photos: { field: 'image_urls', as: 'list', max: 4 },
    shape: { field: 'aspect_ratio', values: sameRatios },
    count: { field: 'num_images', max: 4 },
    fixed: { output_format: 'png' },
  },
  output: '/images/*/url',
  price: { per: 'image', usd: 0.04, checked: '2026-11-20' },
  timeout: 240,
}
const geminiFlash: OfferInput = {
  provider: 'gemini',
  model: 'gemini-3.1-flash-image',
  input: {
    prompt: 'text',
    maxPrompt: LONG_PROMPT,
    photos: { field: 'inlineData', as: 'list', min: 0, max: 4 },
    shape: { field: 'aspectRatio', values: sameRatios },
  },
  output: '',
  price: { per: 'image', usd: 0.067, checked: '2026-11-20' },
  timeout: 120,
}
const gptImage: OfferInput = {
  provider: 'openai',
  model: 'gpt-image-2.6-sunburst',
  input: {
    prompt: 'prompt',
    maxPrompt: LONG_PROMPT,
    letters: true,
    photos: { field: 'image[]', as: 'list', min: 0, max: 4 },
    shape: {
      field: 'size',
      values: {
        '1:1': '1024x1024',
        '4:3': '1152x864',
        '3:4': '864x1152',
        '16:9': '1536x864',
        '9:16': '864x1536',
      },
    },
    count: { field: 'n', max: 4 },
    fixed: { quality: 'medium', output_format: 'png' },
  },
  output: '',
  price: { per: 'image', usd: 0.045, checked: '2026-11-20' },
  timeout: 180,
}
const fluxKlein: OfferInput = {
  provider: 'workers-ai',
  model: '@cf/black-forest-labs/flux-2-klein-9b',
  input: {
    prompt: 'prompt',
    photos: { field: 'input_image_', as: 'numbered', min: 0, max: 4 },
    shape: { width: 'width', height: 'height', multipleOf: 32, pixels: 1_048_576 },
  },
  output: '',
  price: { per: 'image', usd: 0.015, checked: '2026-11-20' },
  timeout: 90,
}

/** What a task needs of a model that can do it without photos, too. */
const fromPhotos = (offer: OfferInput, max = 1): OfferInput => {
  const { photos } = offer.input
  return photos ? { ...offer, input: { ...offer.input, photos: { ...photos, min: 1, max } } } : offer
}

export const builtIn: Input = [
  {
    id: 'studio-scene',
    task: 'scene',
    name: 'Studio scene',
    offers: [nanoBanana, falNanoBanana, gptImage, geminiFlash, fluxKlein],
    maxCount: 4,
    deadline: 600,
  },
  {
    id: 'studio-scene-pro',
    task: 'scene',
    name: 'Studio scene in 2K, with lettering',
    offers: [
      nanoBananaPro,
      { ...geminiFlash, model: 'gemini-3-pro-image', price: { ...geminiFlash.price, usd: 0.134 } },
    ],
    maxCount: 4,
    deadline: 600,
  },
  {
    id: 'cutout',
    task: 'cutout',
    name: 'Cutout',
    offers: [
      {
        provider: 'replicate',
        model: 'bria/remove-background',
        input: {
          photos: { field: 'image', as: 'one', max: 1 },
          fixed: { preserve_alpha: true },
        },
        output: '',
        price: { per: 'image', usd: 0.018, checked: '2026-11-20' },
        timeout: 120,
      },
      {
        provider: 'replicate',
        model: '851-labs/background-remover',
        input: {
          photos: { field: 'image', as: 'one', max: 1 },
          fixed: { format: 'png', background_type: 'rgba' },
        },
        output: '',
        price: { per: 'run', usd: 0.005, checked: '2026-11-20' },
        timeout: 240,
      },
      {
        ...fromPhotos(gptImage),
        input: {
          ...fromPhotos(gptImage).input,
          fixed: { quality: 'medium', output_format: 'png', background: 'transparent' },
        },
      },
    ],
    deadline: 600,
  },
  {
    id: 'packshot',
    task: 'packshot',
    name: 'Packshot on white',
    offers: [
      fromPhotos(nanoBanana, 4),
      fromPhotos(falNanoBanana, 4),
      fromPhotos(gptImage, 4),
      fromPhotos(geminiFlash, 4),
    ],
    maxCount: 4,
    deadline: 600,
  },
  {
    id: 'upscale',
    task: 'upscale',
    name: 'Upscale',
    offers: [
      {
        provider: 'replicate',
        model: 'recraft-ai/recraft-crisp-upscale',
        input: { photos: { field: 'image', as: 'one', max: 1 }, shape: 'from-photo' },
        output: '',
        price: { per: 'image', usd: 0.006, checked: '2026-11-20' },
        timeout: 120,
      },
    ],
    deadline: 600,
  },
  {
    id: 'expand',
    task: 'expand',
    name: 'Expand to another ratio',
    offers: [
      fromPhotos(nanoBanana),
      fromPhotos(falNanoBanana),
      fromPhotos(gptImage),
      fromPhotos(geminiFlash),
    ],
    deadline: 600,
  },
  {
    id: 'motion',
    task: 'animate',
    name: 'Motion',
    offers: [
      {
        provider: 'replicate',
        model: 'google/veo-3.1-fast',
        input: {
          prompt: 'prompt',
          negativePrompt: 'negative_prompt',
          photos: { field: 'image', as: 'one', min: 0, max: 1 },
          shape: { field: 'aspect_ratio', values: { '16:9': '16:9', '9:16': '9:16' } },
          seconds: { field: 'duration', values: [6, 8], as: 'number' },
          seed: 'seed',
          fixed: { generate_audio: false, resolution: '720p' },
        },
        output: '',
        price: { per: 'second', usd: 0.1, checked: '2026-11-20' },
        timeout: 900,
      },
      {
        provider: 'fal',
        model: 'fal-ai/wan-25-preview/image-to-video',
        input: {
          prompt: 'prompt',
          maxPrompt: 800,
          negativePrompt: 'negative_prompt',
          photos: { field: 'image_url', as: 'one', max: 1, minSide: 360, types: ['image/jpeg'] },
          shape: 'from-photo',
          seconds: { field: 'duration', values: [5, 10], as: 'string' },
          seed: 'seed',
          fixed: { resolution: '720p' },
        },
        output: '/video/url',
        price: { per: 'second', usd: 0.1, checked: '2026-11-20' },
        timeout: 900,
      },
    ],
    deadline: 1800,
  },
]
