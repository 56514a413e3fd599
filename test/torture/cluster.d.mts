import type { ChildProcess } from 'node:child_process'

export const canJump: boolean
export function freePort(): Promise<number>
export function isReady(url: string): Promise<boolean>
export function until<T>(what: string, probe: () => Promise<T | undefined | false>, seconds?: number): Promise<T>
export class Program {
  child: ChildProcess | undefined
  readonly runs: boolean
  start(): Promise<this>
  stop(signal?: NodeJS.Signals): Promise<void>
}
export interface Postgres {
  url: string
  kill(signal: NodeJS.Signals): void
  stop(): Promise<void>
}
export function startPostgres(folder: string): Promise<Postgres>
export class Node extends Program {
  readonly name: string
  readonly url: string
  readonly port: number
  readonly dimsePort: number
  readonly folder: string
  static make(
    name: string,
    options: {
      folder: string
      store: string
      databaseUrl: string
      endpoints: string
      environment?: Record<string, string>
    },
  ): Promise<Node>
  jump(seconds: number): void
}
export interface Balancer {
  port: number
  stop(): void
}
export function startBalancer(nodes: readonly Node[], portOf: (node: Node) => number): Promise<Balancer>
export const hasHaproxy: boolean
export function haproxyConfiguration(
  nodes: readonly { port: number; dimsePort: number }[],
  port: number,
  dimsePort: number,
): string
export function startHaproxy(
  nodes: readonly Node[],
  folder: string,
): Promise<{ port: number; dimsePort: number; stop(): Promise<void> }>
