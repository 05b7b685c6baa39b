/** Checks what a client sends to create a prediction, the way Replicate reports it when something is wrong. */
import { z } from 'zod'
import { checkInput, type Issue } from '../check.ts'
import type { ModelSchema } from '../schemas.ts'
import { Refusal } from './http.ts'
import { eventNames } from './prediction.ts'

interface InvalidField {
  type: string
  field: string
  description: string
}

function refuseInvalid(invalid: InvalidField[]): Refusal {
  const detail = invalid.map(({ field, description }) => `- ${field}: ${description}\n`).join('')
  return new Refusal(422, detail, { extra: { invalid_fields: invalid } })
}

const envelope = z.object({
  version: z.string().min(1).optional(),
  input: z.record(z.string(), z.unknown(), 'input is required'),
  // The real one takes https only; here clients listen without a certificate.
  webhook: z.url({ protocol: /^https?$/ }).optional(),
  webhook_events_filter: z.array(z.enum(eventNames)).optional(),
})

export type Envelope = z.infer<typeof envelope>

/** `isNamed` says that the URL names the model; otherwise the body has to name a version. Throws a refusal. */
export function readEnvelope(body: unknown, isNamed: boolean): Envelope {
  const parsed = envelope.safeParse(body)
  const invalid: InvalidField[] =
    parsed.error?.issues.map(({ code, path, message }) => ({
      type: code,
      field: path.join('.') || 'body',
      description: message,
    })) ?? []
  const record = z.record(z.string(), z.unknown()).safeParse(body).data ?? {}
  if (!isNamed && !record.version) {
    invalid.unshift({ type: 'required', field: 'version', description: 'version is required' })
  }
  if (!isNamed && record.model !== undefined) {
    const description = 'Additional property model is not allowed'
    invalid.push({ type: 'additional_property_not_allowed', field: 'model', description })
  }
  if (!parsed.success || invalid.length > 0) throw refuseInvalid(invalid)
  return parsed.data
}

const types: Record<Issue['rule'], string> = {
  required: 'required',
  type: 'invalid_type',
  enum: 'enum',
  format: 'format',
  minimum: 'number_gte',
  maximum: 'number_lte',
  unknown: 'additional_property_not_allowed',
}

function describe({ path, rule, expected, given }: Issue): string {
  switch (rule) {
    case 'required':
      return `${expected} is required`
    case 'type':
      return `Invalid type. Expected: ${expected}, given: ${given}`
    case 'enum':
      return `${path.at(-1)} must be one of the following: ${expected}`
    case 'format':
      return `Does not match format '${expected}'`
    case 'minimum':
      return `Must be greater than or equal to ${expected}`
    case 'maximum':
      return `Must be less than or equal to ${expected}`
    case 'unknown':
      return `Additional property ${expected} is not allowed`
  }
}

/** Throws a refusal. */
export function checkModelInput({ input: schema }: ModelSchema, input: Record<string, unknown>): void {
  const invalid = checkInput(schema, input).map((issue) => ({
    type: types[issue.rule],
    field: ['input', ...issue.path].join('.'),
    description: describe(issue),
  }))
  if (invalid.length > 0) throw refuseInvalid(invalid)
}
