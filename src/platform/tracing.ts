import { createHash } from 'node:crypto'
import { type Attributes, context, type Span, SpanKind, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api'

/**
 * Spans of OpenTelemetry. All that is done with one revision of a study, on whatever node, is one trace: its identifiers are derived from those of the study. While
 * tracing is off these functions only call what they are given. Attributes hold UIDs and names of the configuration, nothing of a patient.
 */
const tracer = () => trace.getTracer('radbridge')

/** The identifiers of the trace of a revision, and of its root span. */
export function studyTrace(study: string, revision: number): { traceId: string; spanId: string } {
  const digest = createHash('sha256').update(`${study}:${revision}`).digest('hex')
  return { traceId: digest.slice(0, 32), spanId: digest.slice(32, 48) }
}

/** Within the trace of a revision. */
export function inStudySpan<T>(
  name: string,
  study: string,
  revision: number,
  attributes: Attributes,
  work: () => Promise<T>,
): Promise<T> {
  const parent = trace.setSpanContext(context.active(), {
    ...studyTrace(study, revision),
    traceFlags: TraceFlags.SAMPLED,
    isRemote: true,
  })
  const all = { ...attributes, 'radbridge.study': study, 'radbridge.revision': revision }
  return context.with(parent, () => inSpan(name, all, work))
}

/** Within what is under way. */
export function inSpan<T>(
  name: string,
  attributes: Attributes,
  work: (span: Span) => Promise<T>,
  kind = SpanKind.INTERNAL,
): Promise<T> {
  return tracer().startActiveSpan(name, { attributes, kind }, async span => {
    try {
      return await work(span)
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: (error as Error).message })
      throw error
    } finally {
      span.end()
    }
  })
}
