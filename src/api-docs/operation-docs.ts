import type { ApiDocs } from '../http/openapi/operation-docs.ts'

/** Examples and own error codes of the operations, by operationId. */
export const OPERATION_DOCS: ApiDocs = {}
