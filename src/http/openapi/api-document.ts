import type { ErrorCode } from '../../shared/errors.ts'
import type { AccessRule } from '../access-control.ts'

/** The parts of an OpenAPI 3.1 document that this service writes. https://spec.openapis.org/oas/v3.1.1 */
export type ApiDocument = {
  openapi: string
  info: {
    title: string
    version: string
    description: string
    license: { name: string; identifier: string }
  }
  servers: { url: string; description: string }[]
  tags: { name: string; description: string }[]
  /** Applies to every operation without its own `security`. */
  security: Record<string, string[]>[]
  paths: Record<string, PathItem>
  components: Components
}

export type Components = {
  schemas: Record<string, JsonSchema>
  parameters: Record<string, Parameter>
  headers: Record<string, object>
  responses: Record<string, Answer>
  examples: Record<string, Example>
  securitySchemes: Record<string, object>
}

/** JSON Schema 2020-12. */
export type JsonSchema = { [keyword: string]: unknown }

export type Reference = { $ref: string }

export type Parameter = {
  name: string
  in: 'path' | 'query' | 'header'
  required?: boolean
  description?: string
  schema: JsonSchema
  example?: unknown
}

export type Example = { summary?: string; value: unknown }

export type Media = {
  schema: JsonSchema
  example?: unknown
  examples?: Record<string, Example | Reference>
}

export type Answer = {
  description: string
  headers?: Record<string, object>
  content?: Record<string, Media>
}

type Method = 'get' | 'put' | 'post' | 'patch' | 'delete'

/** The operations of a path, and the parameters that all of them take. */
export type PathItem = { [method in Method]?: Operation } & {
  parameters?: (Parameter | Reference)[]
}

export type Operation = {
  operationId: string
  summary: string
  tags: string[]
  description?: string
  security?: Record<string, string[]>[]
  parameters?: (Parameter | Reference)[]
  requestBody?: { required?: boolean; description?: string; content: Record<string, Media> }
  responses: Record<string, Answer | Reference>
  'x-access'?: unknown
  /** Set by add-openapi.ts; finish-document.ts reads and removes it. */
  'x-route'?: RouteFacts
}

/** Facts that the generated operation does not show. */
export type RouteFacts = { access: AccessRule; bodyRequired: boolean; rateLimited: boolean }

/** A reference into the document. */
export function refTo(section: keyof Components, name: string): Reference {
  return { $ref: `#/components/${section}/${name}` }
}

/** All operations, with their path and method, in the order of the document. */
export function operationsOf(
  document: Pick<ApiDocument, 'paths'>,
): { path: string; method: Method; operation: Operation }[] {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).flatMap(([method, part]) =>
      // The only list of a path is that of its parameters.
      Array.isArray(part) ? [] : [{ path, method: method as Method, operation: part }],
    ),
  )
}

/** Examples and error codes of an operation. They are kept in src/api-docs, not in the routes. */
export type OperationDocs = {
  /** Error codes besides those that follow from its method, path and access rule. */
  problems?: readonly ErrorCode[]
  /** For a route that reads the raw body. */
  rawBody?: RawBody
  /** Examples of request bodies, by a short name. */
  requests?: Record<string, Example>
  /** Examples of success answers, by a short name. */
  answers?: Record<string, Example>
}

export type RawBody = {
  type: string
  description: string
  schema: JsonSchema
  example?: string
}

/** By operationId. */
export type ApiDocs = Readonly<Record<string, OperationDocs>>

/** The words and examples of the document; the rest comes from the routes. */
export type ApiDescription = Pick<ApiDocument, 'info' | 'servers' | 'tags'> & {
  operations: ApiDocs
  /** One object of each kind, by the name of its schema. */
  examples: Readonly<Record<string, unknown>>
}
