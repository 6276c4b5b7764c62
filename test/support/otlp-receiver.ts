import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { afterAll, beforeAll } from 'vitest'

export type ReceivedSpan = {
  traceId: string
  spanId: string
  /** Empty for the first span of a trace. */
  parentSpanId: string
  name: string
  /** 1 internal, 2 server, 3 client, 5 consumer. */
  kind: number
  attributes: Record<string, unknown>
  links: string[]
  failed: boolean
}

/** A collector that takes OTLP as JSON over HTTP and keeps every span. */
export function useOtlpReceiver(): { readonly url: string; readonly spans: ReceivedSpan[] } {
  const spans: ReceivedSpan[] = []
  let port = 0
  const server = createServer((request, response) => {
    const receive = async () => {
      if (request.url === '/v1/traces') spans.push(...spansOf((await json(request)) as Export))
      response.setHeader('content-type', 'application/json').end('{}')
    }
    receive().catch((error: unknown) => response.writeHead(400).end(String(error)))
  })
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    port = (server.address() as AddressInfo).port
  })
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    spans,
    get url() {
      return `http://127.0.0.1:${port}`
    },
  }
}

// https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
type Attribute = {
  key: string
  value: { stringValue?: string; intValue?: number | string; arrayValue?: unknown }
}

type Export = {
  resourceSpans: {
    resource: { attributes: Attribute[] }
    scopeSpans: {
      spans: {
        traceId: string
        spanId: string
        parentSpanId?: string
        name: string
        kind: number
        attributes?: Attribute[]
        links?: { spanId: string }[]
        status?: { code?: number }
      }[]
    }[]
  }[]
}

function spansOf({ resourceSpans }: Export): ReceivedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => ({
        ...span,
        parentSpanId: span.parentSpanId ?? '',
        attributes: { ...valuesOf(resource.attributes), ...valuesOf(span.attributes ?? []) },
        links: (span.links ?? []).map(({ spanId }) => spanId),
        failed: span.status?.code === 2,
      })),
    ),
  )
}

const valuesOf = (attributes: readonly Attribute[]) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))
