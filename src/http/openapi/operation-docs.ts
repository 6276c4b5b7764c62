import type { ErrorCode } from '../../shared/errors.ts'
import type { Example } from './api-document.ts'

/** What the document says of an operation beyond its route: kept beside the routes, in api-docs. */
export type OperationDocs = {
  /** Codes that it may answer beside those that follow from its method, path and access. */
  problems?: readonly ErrorCode[]
  /** For a route that reads the bytes itself: what they are. */
  rawBody?: string
  /** Bodies that it takes, by a short name. */
  requests?: Record<string, Example>
  /** Bodies of its success, by a short name. */
  answers?: Record<string, Example>
}

/** By operationId. */
export type ApiDocs = Readonly<Record<string, OperationDocs>>
