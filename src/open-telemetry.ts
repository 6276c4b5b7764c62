import {
  type Context,
  type Span as OtelSpan,
  type Tracer as OtelTracer,
  ROOT_CONTEXT,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from '@opentelemetry/api'
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { OTLPTraceExporter as ProtobufExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources'
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  type SpanExporter,
} from '@opentelemetry/sdk-trace-base'
import type { TracingSettings } from './config.ts'
import type { Logger } from './shared/logger.ts'
import type { Attributes, Leaf, Span, Tracer } from './shared/work-context.ts'

const KINDS = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  consumer: SpanKind.CONSUMER,
  internal: SpanKind.INTERNAL,
} as const

/**
 * Traces by OTLP. The packages are loaded only with this file, and this file only if a setting names an
 * endpoint. They read the other `OTEL_…` settings themselves: headers, timeouts, sampler, batches, resource.
 *
 * No instrumentation package patches anything: each step is recorded at the one place of our code that makes it
 * (docs/decisions/0032).
 */
export function createTracing(
  { protocol }: TracingSettings,
  { role, logger }: { role: string; logger: Logger },
): { tracer: Tracer; stop(): Promise<void> } {
  const exporter = protocol === 'http/json' ? new JsonExporter() : new ProtobufExporter()
  const provider = new BasicTracerProvider({
    resource: defaultResource()
      .merge(
        resourceFromAttributes({
          'service.name': 'sponsor-vouchers',
          'sponsor_vouchers.run': role,
        }),
      )
      .merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [new BatchSpanProcessor(reportingFailures(exporter, logger))],
  })
  return {
    tracer: toTracer(provider.getTracer('sponsor-vouchers')),
    // A collector that does not answer must neither delay the stop of the process nor let it fail.
    stop: () =>
      Promise.race([
        provider.shutdown().catch(() => {}),
        new Promise<void>((resolve) => setTimeout(resolve, STOP_MS).unref()),
      ]),
  }
}

const STOP_MS = 2_000

function toTracer(otel: OtelTracer): Tracer {
  return {
    begin({ name, kind, attributes, parent = null }) {
      const remote = parent === null ? null : parseTraceparent(parent)
      const context = remote === null ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, remote)
      const options = { kind: KINDS[kind], attributes: copyOf(attributes) }
      const span = otel.startSpan(name, options, context)
      return span.isRecording() ? toSpan(otel, span) : null
    },
  }
}

function toSpan(otel: OtelTracer, span: OtelSpan): Span {
  const { traceId, spanId, traceFlags } = span.spanContext()
  const context: Context = trace.setSpan(ROOT_CONTEXT, span)
  return {
    traceId,
    traceparent: `00-${traceId}-${spanId}-0${(traceFlags & TraceFlags.SAMPLED).toString(16)}`,
    begin: (name, attributes) =>
      toSpan(otel, otel.startSpan(name, { attributes: copyOf(attributes) }, context)),
    record: (leaf) => recordLeaf(otel, context, leaf),
    set: (attributes) => void span.setAttributes(copyOf(attributes)),
    link(traceparent) {
      const linked = parseTraceparent(traceparent)
      if (linked !== null) span.addLink({ context: linked })
    },
    fail: (error) => markFailed(span, error),
    end: () => span.end(),
  }
}

function recordLeaf(otel: OtelTracer, context: Context, leaf: Leaf): void {
  const startTime = performance.timeOrigin + leaf.startedAt
  const attributes = copyOf(leaf.attributes)
  const span = otel.startSpan(leaf.name, { kind: KINDS[leaf.kind], attributes, startTime }, context)
  if (leaf.error !== undefined) markFailed(span, leaf.error)
  span.end()
}

function markFailed(span: OtelSpan, error: string): void {
  span.setAttribute('error.type', error)
  span.setStatus({ code: SpanStatusCode.ERROR })
}

/** With lists that OpenTelemetry may keep. */
const copyOf = (attributes: Attributes) =>
  Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [
      name,
      typeof value === 'object' ? [...value] : value,
    ]),
  )

/** @see https://www.w3.org/TR/trace-context/#traceparent-header */
function parseTraceparent(text: string): SpanContext | null {
  const match = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/.exec(text)
  const [, traceId = '', spanId = '', flags = ''] = match ?? []
  const context = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true }
  return trace.isSpanContextValid(context) ? context : null
}

/** Logs the first failure and the recovery: a collector that is down must not fill the log. */
function reportingFailures(exporter: SpanExporter, logger: Logger): SpanExporter {
  let failing = false
  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        const error = result.error?.message
        if (result.code !== 0 && !failing) logger.warn({ error }, 'cannot export traces')
        if (result.code === 0 && failing) logger.info('exports traces again')
        failing = result.code !== 0
        done(result)
      })
    },
    shutdown: () => exporter.shutdown(),
    forceFlush: async () => exporter.forceFlush?.(),
  }
}
