/** The styles, as prompts for models that know them by words only. */
import type { Style } from '../words.ts'

const scenes: Record<Style, string> = {
  modern: 'a modern style: clean geometry, soft daylight, a plain pedestal, one strong accent colour',
  luxury: 'a luxury style: dark backdrop, spotlight, gold accents, polished surface with a subtle reflection',
  fresh: 'a fresh style: light greens, leaves, water drops, bright airy light',
  tech: 'a tech style: deep blue and violet, neon rim light, a grid floor, futuristic mood',
  warm: 'a warm style: wooden table, golden window light, soft shadows of plants',
  business: 'a business style: bright neutral studio, restrained lines, one corporate accent colour',
}

/** A prompt in words for a product picture. */
export const composePrompt = (request: {
  prompt: string | null
  style: Style | null
  images: unknown[]
}): string => {
  const scene = scenes[request.style ?? 'modern']
  const subject =
    request.images.length > 0
      ? 'A professional marketing photograph of exactly the product in the picture, unchanged,'
      : 'A professional marketing photograph of a product'
  return `${subject} in ${scene}.${request.prompt ? ` Caption: "${request.prompt}"` : ''}`
}
