// Checks what a client sends to create a prediction, the way Replicate reports it when something is wrong.
import { z } from 'zod'
import { type AspectRatio, aspectRatios } from './layout.ts'
import { type StyleName, styles } from './styles.ts'

const eventNames = ['start', 'output', 'logs', 'completed'] as const

export type EventName = (typeof eventNames)[number]

const keysOf = <Key extends string>(record: Record<Key, unknown>): Key[] => Object.keys(record) as Key[]

const modelInput = z.object({
  prompt: z.string().max(10_000).default(''),
  image: z.preprocess(
    (value) => (typeof value === 'string' ? [value] : (value ?? [])),
    z.array(z.url({ protocol: /^(https?|data)$/, error: "Does not match format 'uri'" })).max(10),
  ),
  style: z.enum(keysOf<StyleName>(styles)).default('modern'),
  aspect_ratio: z.enum(keysOf<AspectRatio>(aspectRatios)).default('1:1'),
  num_outputs: z.int().min(1).max(4).default(1),
  seed: z.int().nullish(),
  output_format: z.enum(['png', 'webp', 'jpg']).default('webp'),
})

export type ModelInput = z.infer<typeof modelInput>

const creation = z.object({
  version: z.string().min(1).optional(),
  input: modelInput,
  webhook: z.url({ protocol: /^https?$/ }).optional(),
  webhook_events_filter: z.array(z.enum(eventNames)).optional(),
})

export type Creation = z.infer<typeof creation>

export interface InvalidField {
  type: string
  field: string
  description: string
}

/** `needsVersion` is for requests whose URL doesn't name a model. */
export function parseCreation(
  body: unknown,
  needsVersion: boolean,
): { creation: Creation; invalid?: never } | { creation?: never; invalid: InvalidField[] } {
  const parsed = creation.safeParse(body)
  if (!parsed.success) {
    const invalid = parsed.error.issues.map(({ code, path, message }) => ({
      type: code,
      field: path.join('.') || 'body',
      description: message,
    }))
    return { invalid }
  }
  if (needsVersion && !parsed.data.version) {
    return { invalid: [{ type: 'required', field: 'version', description: 'version is required' }] }
  }
  return { creation: parsed.data }
}
