/** The recorded schemas: complete, and true to themselves. */
import { describe, expect, test } from 'vitest'
import { checkInput, fillIn } from '../check.ts'
import { findSchema, loadSchemas } from '../schemas.ts'

const schemas = loadSchemas()
const named = schemas.map((schema) => [`${schema.provider} ${schema.model}`, schema] as const)

describe('recorded schemas', () => {
  test('are there for every model of the catalogue, and no model twice', () => {
    const names = named.map(([name]) => name)
    expect(new Set(names).size).toBe(names.length)
    for (const name of [
      'replicate google/nano-banana',
      'replicate google/nano-banana-pro',
      'replicate black-forest-labs/flux-kontext-pro',
      'replicate bytedance/seedream-4',
      'replicate bria/remove-background',
      'replicate bria/generate-background',
      'replicate 851-labs/background-remover',
      'replicate recraft-ai/recraft-crisp-upscale',
      'replicate kwaivgi/kling-v2.5-turbo-pro',
      'replicate minimax/hailuo-2.3',
      'replicate bytedance/seedance-2.0',
      'replicate wan-video/wan-2.5-i2v',
      'replicate google/veo-3.1',
      'replicate google/veo-3.1-fast',
      'fal google/nano-banana-2.1/edit',
      'fal fal-ai/wan-25-preview/image-to-video',
      'openai gpt-image-2.6-sunburst',
      'openai gpt-image-2.6-flare',
      'openai gpt-image-2',
      'openai gpt-image-1.5',
      'gemini gemini-3.1-flash-image',
      'gemini gemini-3-pro-image',
      'workers-ai @cf/black-forest-labs/flux-2-klein-9b',
      'workers-ai @cf/black-forest-labs/flux-2-klein-4b',
      'workers-ai @cf/black-forest-labs/flux-2-dev',
      'workers-ai @cf/black-forest-labs/flux-1-schnell',
      'workers-ai @cf/leonardo/lucid-origin',
    ])
      expect(names).toContain(name)
    expect(findSchema(schemas, 'openai', 'gpt-image-1')).toBeUndefined()
    expect(findSchema(schemas, 'openai', 'gpt-image-1.5')?.retires).toBe('2026-12-01')
  })

  test.each(named)('%s names only fields that it has', (_, { input, photos, picturesPerCall, provider }) => {
    const properties = Object.keys(input.properties ?? {})
    expect(properties).toEqual(expect.arrayContaining(input.required ?? []))
    if (picturesPerCall) expect(properties).toContain(picturesPerCall.field)
    if (provider !== 'gemini') expect(properties).toEqual(expect.arrayContaining(photos?.fields ?? []))
  })

  test.each(named)('%s accepts its own defaults', (_, { input }) => {
    expect(checkInput({ ...input, required: [] }, fillIn(input, {}))).toEqual([])
  })
})

describe('checking an input', () => {
  const kling = findSchema(schemas, 'replicate', 'kwaivgi/kling-v2.5-turbo-pro')
  const input = kling?.input ?? { type: 'object' as const }

  test('finds what is missing, of the wrong type, not in a list and no address', () => {
    const wrong = {
      start_image: ['https://a.example/b.jpg'],
      duration: 7,
      aspect_ratio: '4:3',
      image: 'mug.jpg',
    }
    expect(checkInput(input, wrong)).toMatchObject([
      { path: [], rule: 'required', expected: 'prompt' },
      { path: ['start_image'], rule: 'type', expected: 'string', given: 'array' },
      { path: ['image'], rule: 'format', expected: 'uri' },
      { path: ['aspect_ratio'], rule: 'enum', expected: '"16:9", "9:16", "1:1"' },
      { path: ['duration'], rule: 'enum', expected: '5, 10' },
    ])
  })

  test('leaves unknown fields alone, and filling in drops them', () => {
    const unknown = { prompt: 'x', num_outputs: 4 }
    expect(checkInput(input, unknown)).toEqual([])
    expect(fillIn(input, unknown)).toEqual({ prompt: 'x', aspect_ratio: '16:9', duration: 5 })
  })

  test('refuses unknown fields where the provider does', () => {
    const schnell = findSchema(schemas, 'workers-ai', '@cf/black-forest-labs/flux-1-schnell')
    expect(checkInput(schnell?.input ?? input, { prompt: 'x', seed: 1 })).toMatchObject([
      { rule: 'unknown', expected: 'seed' },
    ])
  })
})
