/** Checks an input against a recorded schema and says what is wrong in no provider's words: each has its own. */
import type { InputSchema } from './schemas.ts'

export interface Issue {
  /** Where, from the input's root. */
  path: string[]
  rule: 'required' | 'type' | 'enum' | 'format' | 'minimum' | 'maximum' | 'unknown'
  /** What it would have to be; for `required` and `unknown` the field's name. */
  expected: string
  /** What kind of value it is. */
  given: string
}

const nameType = (value: unknown): string => {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number'
  return typeof value
}

const isUri = (value: string): boolean => /^(https?|data):/.test(value) && URL.canParse(value)

/** In the schema's order; a value of the wrong type has no further issues. */
export function checkInput(schema: InputSchema, value: unknown, path: string[] = []): Issue[] {
  const given = nameType(value)
  const fail = (rule: Issue['rule'], expected: string): Issue[] => [{ path, rule, expected, given }]
  if (given !== schema.type && !(schema.type === 'number' && given === 'integer'))
    return fail('type', schema.type)
  if (schema.enum && !schema.enum.some((each) => each === value))
    return fail('enum', schema.enum.map((each) => JSON.stringify(each)).join(', '))
  if (typeof value === 'string') {
    if (schema.format === 'uri' && !isUri(value)) return fail('format', 'uri')
    if (schema.pattern && !new RegExp(schema.pattern).test(value)) return fail('format', schema.pattern)
  }
  // JSON Schema counts characters, not UTF-16's units.
  const counted = typeof value === 'string' ? Array.from(value) : value
  const size = typeof counted === 'number' ? counted : (counted as { length?: number }).length
  const least = schema.minimum ?? schema.minLength ?? schema.minItems
  const most = schema.maximum ?? schema.maxLength ?? schema.maxItems
  if (size !== undefined && least !== undefined && size < least) return fail('minimum', String(least))
  if (size !== undefined && most !== undefined && size > most) return fail('maximum', String(most))
  if (Array.isArray(value)) {
    const { items } = schema
    return items ? value.flatMap((item, i) => checkInput(items, item, [...path, String(i)])) : []
  }
  if (given !== 'object') return []
  // The type was checked: an object is a record.
  const fields = value as Record<string, unknown>
  const { properties = {}, required = [], additionalProperties } = schema
  const missing = required.filter((name) => fields[name] === undefined)
  const unknown =
    additionalProperties === false
      ? Object.keys(fields).filter((name) => !Object.hasOwn(properties, name))
      : []
  return [
    ...missing.flatMap((name) => fail('required', name)),
    ...unknown.flatMap((name) => fail('unknown', name)),
    ...Object.entries(properties).flatMap(([name, property]) =>
      fields[name] === undefined ? [] : checkInput(property, fields[name], [...path, name]),
    ),
  ]
}

/** The fields that the model knows, with its defaults for those that are missing; the others are dropped. */
export function fillIn(
  { properties = {} }: InputSchema,
  input: Record<string, unknown>,
): Record<string, unknown> {
  const filled: Record<string, unknown> = {}
  for (const [name, property] of Object.entries(properties)) {
    const value = input[name] ?? property.default
    if (value !== undefined) filled[name] = value
  }
  return filled
}
