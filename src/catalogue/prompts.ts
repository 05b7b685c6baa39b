/** What a model that takes words is told: a template a task, with the style, the caller's instruction and the lettering. */
import type { Style, Task } from '../words.ts'

const styles: Record<Style, string> = {
  modern: 'a modern style: clean geometry, soft daylight, a plain pedestal, one strong accent colour',
  luxury: 'a luxury style: dark backdrop, spotlight, gold accents, polished surface with a subtle reflection',
  fresh: 'a fresh style: light greens, leaves, water drops, bright airy light',
  tech: 'a tech style: deep blue and violet, neon rim light, a grid floor, futuristic mood',
  warm: 'a warm style: wooden table, golden window light, soft shadows of plants',
  business: 'a business style: bright neutral studio, restrained lines, one corporate accent colour',
}

const KEEP =
  'The product stays exactly as in the picture: its shape, proportions, colours, materials, label and every letter on it.'

interface Words {
  task: Task
  style: Style | null
  /** The caller's instruction. */
  prompt: string | null
  /** Lettering for the picture. */
  text: string | null
  hasPhotos: boolean
}

const inStyle = (style: Style | null, otherwise: string) => (style ? ` in ${styles[style]}` : otherwise)

const subjects: Record<Task, (words: Words) => string> = {
  scene: ({ style, hasPhotos }) =>
    `A professional marketing photograph of ${hasPhotos ? 'the product in the picture' : 'a product'}${inStyle(style, ', in a setting that suits it')}.`,
  cutout: () => 'The product alone, cut out cleanly, on a fully transparent background.',
  packshot: () =>
    'A catalogue packshot: the product alone, in the middle, filling 85 % of the frame, on a pure white background (#ffffff), in soft even light, without props, text or logos that are not on the product.',
  upscale: () => 'The same picture in a higher resolution.',
  expand: () =>
    'Extend the picture beyond its borders until it fills the format; continue the background as it is, and leave what is in the picture unchanged.',
  animate: ({ style }) =>
    `A calm product film${inStyle(style, '')}: the camera moves slowly around the product, the light moves a little.`,
}

export const composePrompt = (words: Words): string =>
  [
    subjects[words.task](words),
    ...(words.hasPhotos ? [KEEP] : []),
    ...(words.prompt ? [words.prompt] : []),
    words.text
      ? `The only added lettering reads: “${words.text}”.`
      : 'Add no lettering, captions or watermarks.',
  ].join(' ')

/** What it is told to avoid, where it takes that apart. */
export const NEGATIVE_PROMPT = 'text, watermark, logo, another product, distorted product, blur, low quality'
