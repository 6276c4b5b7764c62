import type { ApiDescription } from '../http/openapi/add-openapi.ts'
import type { ApiDocs } from '../http/openapi/operation-docs.ts'
import { SERVICE_VERSION } from '../shared/service-version.ts'
import { INTRODUCTION } from './introduction.ts'
import { OPERATION_DOCS } from './operation-docs.ts'
import { TAGS } from './tags.ts'

/**
 * The words of openapi.yaml that no route can know: title, introduction, tags, examples.
 *
 * @param publicUrl where the service is reached; null: where the document was read from.
 * @param made words about routes that are made from definitions, beside those written here.
 */
export function apiDescription(publicUrl: string | null, made: ApiDocs): ApiDescription {
  return {
    info: {
      title: 'sponsor-vouchers',
      version: SERVICE_VERSION,
      description: INTRODUCTION,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: publicUrl ?? '/', description: 'This service' }],
    tags: TAGS,
    operations: { ...OPERATION_DOCS, ...made },
  }
}
