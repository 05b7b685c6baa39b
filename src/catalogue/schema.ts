/** The catalogue's shape: models, and for each the offers of providers, with how our request maps to their input. */
import { z } from 'zod'
import { aspectRatios, providerNames, tasks } from '../words.ts'

/** A provider's name of an input. */
const field = z.string().min(1)

const Shape = z.union([
  /** What the model calls each ratio; one that is missing is not offered. */
  z.strictObject({ field, values: z.partialRecord(z.enum(aspectRatios), z.string()) }),
  /** Pixels: sides that are multiples, of about so many pixels in all. */
  z.strictObject({ width: field, height: field, multipleOf: z.int().min(1), pixels: z.int().min(1) }),
  /** Always as the photo is. */
  z.literal('from-photo'),
])

export const Offer = z.strictObject({
  provider: z.enum(providerNames),
  /** As the provider calls it; a community model of Replicate with its version, `owner/name:version`. */
  model: z.string().min(1),
  input: z.strictObject({
    /** Absent: the model takes no words. */
    prompt: field.optional(),
    negativePrompt: field.optional(),
    /** Characters of the prompt as it is sent. */
    maxPrompt: z.int().min(100).default(2000),
    /** Whether lettering comes out readable. */
    letters: z.boolean().default(false),
    photos: z
      .strictObject({
        field,
        /** `numbered`: one field each, `field0`, `field1`, …. */
        as: z.enum(['one', 'list', 'numbered']),
        min: z.int().min(0).default(1),
        max: z.int().min(1),
        /** Pixels of the shorter side, as photos are prepared (src/assets/inputs.ts). */
        minSide: z.int().default(1),
        /** Those that are transparent are prepared as PNG, others as JPEG. */
        types: z.array(z.enum(['image/jpeg', 'image/png'])).default(['image/jpeg', 'image/png']),
      })
      .optional(),
    shape: Shape.optional(),
    /** Absent: one call makes one picture. */
    count: z.strictObject({ field, max: z.int().min(1) }).optional(),
    seconds: z
      .strictObject({ field, values: z.array(z.int().min(1)).min(1), as: z.enum(['number', 'string']) })
      .optional(),
    seed: field.optional(),
    /** Sent as it is with every request. */
    fixed: z.record(z.string(), z.unknown()).default({}),
  }),
  /** JSON pointer to the results, `*` for each of a list; empty: the output itself, a URL or a list of them. */
  output: z.string().regex(/^(\/[^/]+)*$/),
  price: z.strictObject({
    per: z.enum(['image', 'second', 'megapixel', 'run']),
    usd: z.number().positive(),
    /** When the price was last looked up. */
    checked: z.iso.date(),
  }),
  /** Seconds that the provider may take for one call; what it has not answered by then never comes. */
  timeout: z.int().min(10).max(3600),
  /** The day from which the provider refuses it. */
  retires: z.iso.date().optional(),
})
/** One way to have a model's pictures made. */
export type Offer = z.output<typeof Offer>

const Model = z.strictObject({
  id: z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/),
  task: z.enum(tasks),
  name: z.string().min(1),
  /** The first that can be asked is asked first. */
  offers: z.tuple([Offer], Offer),
  /** Pictures or films of one job; those that the model makes one by one are asked for one by one. */
  maxCount: z.int().min(1).max(10).default(1),
  /** Seconds from its first step until a job that has not finished fails. */
  deadline: z.int().min(30).max(7200),
})
export type Model = z.output<typeof Model>

/** Every task's first model is its default. */
export const Catalogue = z
  .array(Model)
  .min(1)
  .superRefine((models, context) => {
    const ids = models.map(({ id }) => id)
    for (const [index, { id, task, offers }] of models.entries()) {
      const issue = (path: (string | number)[], message: string) =>
        context.addIssue({ code: 'custom', path: [index, ...path], message })
      if (ids.indexOf(id) < index) issue(['id'], `${id} is there twice`)
      for (const [i, { input }] of offers.entries()) {
        const needsSeconds = task === 'animate'
        if (needsSeconds !== (input.seconds !== undefined)) {
          issue(['offers', i, 'input', 'seconds'], needsSeconds ? 'is missing' : `is not for ${task}`)
        }
        if (!input.photos && !input.prompt) issue(['offers', i, 'input'], 'takes neither a prompt nor photos')
      }
    }
  })
