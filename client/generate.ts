/** The types of openapi.json, by openapi-typescript; `npm run docs` writes them to src/openapi.ts. */
import openapiTS, { astToString, type OpenAPI3 } from 'openapi-typescript'
import ts from 'typescript'

interface Document {
  paths: Record<string, Record<string, { responses: Record<string, unknown> }>>
}

const blob = ts.factory.createTypeReferenceNode('Blob')

export const typesOf = async (document: object): Promise<string> => {
  const lean: Document = JSON.parse(JSON.stringify(document))
  // Every refusal is a Problem, and thrown: said a thousand times it would be most of the types.
  for (const operation of Object.values(lean.paths).flatMap((methods) => Object.values(methods))) {
    for (const status of Object.keys(operation.responses)) {
      if (Number(status) >= 400) delete operation.responses[status]
    }
  }
  // `as`: the document is OpenAPI 3.1, generated and checked elsewhere.
  const nodes = await openapiTS(lean as unknown as OpenAPI3, {
    alphabetize: true,
    transform: (schema) => (schema.format === 'binary' ? blob : undefined),
  })
  return `/** Generated from openapi.json by \`npm run docs\`. */\n\n${astToString(nodes)}`
}
