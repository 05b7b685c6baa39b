/** Holds every answer of the API under test against its OpenAPI document. */
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { expect } from 'vitest'
import { stack } from './control.ts'
import type { Answer } from './send.ts'

export type Json = Record<string, unknown>
interface OpenApi {
  paths: Record<string, Record<string, OpenApiOperation>>
  webhooks: Record<string, Record<string, OpenApiOperation>>
  components: { schemas: Record<string, Json> }
}
interface OpenApiOperation {
  operationId: string
  security: unknown[]
  'x-role'?: string
  'x-step-up'?: boolean
  requestBody?: { content: Record<string, { schema: Json; example?: Json }> }
  parameters?: { name: string; in: string; required?: boolean; schema: Json }[]
  responses: Record<string, { content?: Record<string, { schema: Json }>; headers?: Json }>
}

// Only its parts that are used here are typed; a document of another shape fails every test.
export const openApi = (await (await fetch(`${stack.api}/api/v1/openapi.json`)).json()) as OpenApi

/** Undeclared fields fail, wherever an object is described by its properties. */
const strict = (schema: unknown, closed = true): unknown => {
  if (Array.isArray(schema)) return schema.map((member) => strict(member))
  if (typeof schema !== 'object' || schema === null) return schema
  const entries = Object.entries(schema).map(([key, value]) => {
    if (key === 'properties') {
      const properties = Object.entries(value as Json).map(([name, property]) => [name, strict(property)])
      return [key, Object.fromEntries(properties)]
    }
    if (key === 'allOf') return [key, (value as unknown[]).map((member) => strict(member, false))]
    return [key, key === 'items' || key === 'anyOf' || key === 'oneOf' ? strict(value) : value]
  })
  const result = Object.fromEntries(entries) as Json
  const isObject = '$ref' in result || 'allOf' in result || 'properties' in result
  if (closed && isObject && !('additionalProperties' in result)) result.unevaluatedProperties = false
  return result
}

const ajv = new Ajv2020({ strict: false })
addFormats.default(ajv)
ajv.addSchema({
  $id: 'openapi',
  components: {
    schemas: Object.fromEntries(
      Object.entries(openApi.components.schemas).map(([name, schema]) => [name, strict(schema, false)]),
    ),
  },
})
const validators = new Map<string, ValidateFunction>()
const validatorOf = (key: string, schema: Json): ValidateFunction => {
  const known = validators.get(key)
  if (known) return known
  const resolved = JSON.parse(
    JSON.stringify(strict(schema)).replaceAll('"#/components', '"openapi#/components'),
  )
  const validator = ajv.compile(resolved)
  validators.set(key, validator)
  return validator
}

const templates = Object.keys(openApi.paths).map((path) => ({
  path,
  pattern: new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+')}$`),
}))
const templateOf = (path: string) =>
  openApi.paths[path] ? path : templates.find(({ pattern }) => pattern.test(path))?.path

/** Every answer, whatever was asked: declared status, content type and fields. */
export const checkContract = (method: string, path: string, answer: Answer<unknown>) => {
  expect(answer.headers.get('x-request-id'), 'x-request-id').toBeTruthy()
  expect(answer.headers.get('server-timing')).toMatch(/^db;desc="\d+";dur=\d+, limiter;dur=\d+$/)
  if (answer.status >= 400 && path !== '/health/ready') {
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    expect(answer.body).toMatchObject({
      status: answer.status,
      requestId: answer.headers.get('x-request-id'),
    })
  }
  const template = templateOf(path)
  const operation = template && openApi.paths[template]?.[method.toLowerCase()]
  if (!operation) return
  const declared = operation.responses[answer.status]
  const where = `${method} ${template} ${answer.status}`
  expect(declared, `${where} is declared (${JSON.stringify(answer.body)})`).toBeDefined()
  if (answer.headers.has('location')) expect(declared?.headers, where).toHaveProperty('Location')
  const schema = Object.values(declared?.content ?? {})[0]?.schema
  if (schema) checkSchema(where, schema, answer.body)
}

/** @param where what it is, and the same only for the same schema */
export const checkSchema = (where: string, schema: Json, value: unknown) => {
  const validate = validatorOf(where, schema)
  expect(validate(value), `${where}: ${ajv.errorsText(validate.errors)} in ${JSON.stringify(value)}`).toBe(
    true,
  )
}

/** Holds a value against what the document calls `name`. */
export const checkNamed = (name: string, value: unknown) =>
  checkSchema(name, { $ref: `#/components/schemas/${name}` }, value)
