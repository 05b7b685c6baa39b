/** Replicate's description of a model, made from its recorded schema. */
import { createHash } from 'node:crypto'
import type { InputSchema, ModelSchema } from '../schemas.ts'

/** Official models have a version too, though nobody needs it. */
export const versionOf = ({ model, version }: ModelSchema): string =>
  version ?? createHash('sha256').update(model).digest('hex')

/** As cog writes it: what has an enum stands beside the inputs and is referred to. */
function describeInput({ properties = {}, required }: InputSchema) {
  const described: Record<string, unknown> = {}
  const enums: Record<string, unknown> = {}
  for (const [i, [name, property]] of Object.entries(properties).entries()) {
    const order = { title: name, 'x-order': i }
    const { enum: values, default: standard, ...rest } = property
    if (!values) {
      described[name] = { ...rest, ...(standard !== undefined && { default: standard }), ...order }
      continue
    }
    enums[name] = { title: name, type: property.type, enum: values, description: 'An enumeration.' }
    described[name] = {
      allOf: [{ $ref: `#/components/schemas/${name}` }],
      ...(standard !== undefined && { default: standard }),
      'x-order': i,
    }
  }
  const input = {
    type: 'object',
    title: 'Input',
    ...(required?.length && { required }),
    properties: described,
  }
  return { input, enums }
}

export function describeModel(schema: ModelSchema) {
  const [owner, name] = schema.model.split('/')
  const { input, enums } = describeInput(schema.input)
  const file = { type: 'string', format: 'uri' }
  const output =
    schema.output === 'string'
      ? { ...file, title: 'Output' }
      : { type: 'array', items: file, title: 'Output' }
  return {
    url: `https://replicate.com/${schema.model}`,
    owner,
    name,
    description: null,
    visibility: 'public',
    is_official: schema.official,
    latest_version: {
      id: versionOf(schema),
      created_at: `${schema.checked}-01T00:00:00.000000Z`,
      openapi_schema: {
        openapi: '3.0.2',
        info: { title: 'Cog', version: '0.1.0' },
        components: { schemas: { Input: input, Output: output, ...enums } },
      },
    },
  }
}
