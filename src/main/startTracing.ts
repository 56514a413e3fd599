import { type Attributes, ROOT_CONTEXT, SpanStatusCode, trace } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  BatchSpanProcessor,
  NodeTracerProvider,
  RandomIdGenerator,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace-node'
import { type Database, settledMoment } from '../platform/database.js'
import { packageVersion } from '../platform/packageVersion.js'
import { studyTrace } from '../platform/tracing.js'

const lookMilliseconds = 2000

/** Identifiers by chance, but for the root span of a study, whose children know its before it is made. */
class StudyIds extends RandomIdGenerator {
  private given: { traceId: string; spanId: string } | undefined

  with<T>(given: { traceId: string; spanId: string }, start: () => T): T {
    this.given = given
    try {
      return start()
    } finally {
      this.given = undefined
    }
  }

  override generateTraceId = () => this.given?.traceId ?? random.generateTraceId()
  override generateSpanId = () => this.given?.spanId ?? random.generateSpanId()
}
const random = new RandomIdGenerator()

/** Sends spans by OTLP over HTTP. @param tracing.url of the collector @param tracing.ratio of the studies that are traced @returns how to stop */
export function startTracing({ url, ratio }: { url: string; ratio: number }, database: Database): () => Promise<void> {
  const ids = new StudyIds()
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'radbridge', 'service.version': packageVersion }),
    idGenerator: ids,
    // By the identifier of the trace: a study is traced as a whole, or not at all.
    sampler: new TraceIdRatioBasedSampler(ratio),
    spanProcessors: [
      new BatchSpanProcessor(new OTLPTraceExporter({ url: `${url.replace(/\/$/, '')}/v1/traces` }), {
        scheduledDelayMillis: 1000,
      }),
    ],
  })
  provider.register()
  let since: string | undefined
  const look = async () => {
    since = await rootSpans(database, since, ids)
  }
  let looking = look().catch(() => {})
  const timer = setInterval(() => {
    looking = looking.then(look).catch(() => {})
  }, lookMilliseconds).unref()
  return async () => {
    clearInterval(timer)
    await looking
    await look().catch(() => {})
    await provider.shutdown().catch(() => {})
    trace.disable()
  }
}

/**
 * The root of each study that has ended on any node: from its first instance to its end. Two nodes that tell it tell the same.
 * @param since the moment that it was looked up to last; absent: none is told
 * @returns the moment that it was looked up to now
 */
async function rootSpans(database: Database, since: string | undefined, ids: StudyIds): Promise<string> {
  const { rows: moments } = await database.query<{ until: string }>(`select (${settledMoment})::text until`)
  const { until } = moments[0]!
  if (since === undefined) return until
  const { rows } = await database.query<{
    study: string
    revision: number
    state: string
    from: Date
    last: Date
    settled: Date | null
    to: Date
  }>(
    `select study_instance_uid study, v.revision, v.state, v.settled_at settled, v.finished_at "to",
            case when v.revision = 1 then s.received_at else coalesce(v.settled_at, v.finished_at) end "from",
            case when v.revision = s.revision then s.last_instance_at else v.settled_at end "last"
       from study_revision v join study s using (study_instance_uid)
      where v.finished_at >= $1 and v.finished_at < $2`,
    [since, until],
  )
  const tracer = trace.getTracer('radbridge')
  for (const { study, revision, state, from, last, settled, to } of rows) {
    const attributes: Attributes = {
      'radbridge.study': study,
      'radbridge.revision': revision,
      'radbridge.state': state,
    }
    const root = ids.with(studyTrace(study, revision), () =>
      tracer.startSpan('study', { startTime: from, attributes, root: true }),
    )
    const parent = trace.setSpan(ROOT_CONTEXT, root)
    if (last && last > from) tracer.startSpan('receive', { startTime: from }, parent).end(last)
    if (settled && last && settled > last)
      tracer.startSpan('wait until quiet', { startTime: last }, parent).end(settled)
    if (state === 'failed') root.setStatus({ code: SpanStatusCode.ERROR })
    root.end(to)
  }
  return until
}
