import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

/**
 * What the process counts and measures, for Prometheus. Labels are bounded: names of the configuration, outcomes, routes. No UID and nothing of a patient is a label. Counters
 * are those of this process; what all nodes share is read from the database when it is asked for (admin/metrics.ts).
 */
export const registry = new Registry()
collectDefaultMetrics({ register: registry, prefix: 'radbridge_' })

const registers = [registry]
const seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const longSeconds = [0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800]

export const metrics = {
  instances: new Counter({
    name: 'radbridge_instances_received_total',
    help: 'Instances that were sent to this node, by source and by what became of them',
    labelNames: ['source', 'outcome'] as const,
    registers,
  }),
  bytes: new Counter({
    name: 'radbridge_received_bytes_total',
    help: 'Bytes of instances that were stored',
    labelNames: ['source'] as const,
    registers,
  }),
  turnedAway: new Counter({
    name: 'radbridge_turned_away_total',
    help: 'Transfers that were told to come again, since too much was on its way in, by source',
    labelNames: ['source'] as const,
    registers,
  }),
  storing: new Histogram({
    name: 'radbridge_storing_seconds',
    help: 'From the last byte of an instance until it was durable',
    buckets: seconds,
    registers,
  }),
  associations: new Counter({
    name: 'radbridge_associations_total',
    help: 'DICOM associations that peers asked for, by outcome',
    labelNames: ['outcome'] as const,
    registers,
  }),
  openAssociations: new Gauge({
    name: 'radbridge_associations_open',
    help: 'Connections to the DIMSE port',
    registers,
  }),
  requests: new Histogram({
    name: 'radbridge_http_request_seconds',
    help: 'HTTP requests, by route, method and status',
    labelNames: ['route', 'method', 'status'] as const,
    buckets: [...seconds, 30, 60],
    registers,
  }),
  analyses: new Histogram({
    name: 'radbridge_analysis_seconds',
    help: 'Analyses of whole studies by a provider, by outcome',
    labelNames: ['provider', 'outcome'] as const,
    buckets: longSeconds,
    registers,
  }),
  deliveries: new Counter({
    name: 'radbridge_delivery_attempts_total',
    help: 'Attempts to deliver an object, by destination and outcome',
    labelNames: ['destination', 'outcome'] as const,
    registers,
  }),
} as const
