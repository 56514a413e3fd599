import type { Provider } from '../analysis/provider.js'
import type { Deliverer } from '../delivery/index.js'
import type { Destination, Endpoints } from '../platform/endpoints.js'
import type { ProviderSettings } from '../platform/providerSettings.js'

/** Work that has begun with a client that is no longer configured may end with it. */
const retiredMilliseconds = 15 * 60_000

/** How clients are made. @throws Error naming a secret or a file that cannot be read */
export interface ClientFactories {
  /** What needs no client of its own: `reference`. */
  embedded: Provider
  provider(settings: ProviderSettings): Provider
  deliverer(settings: Destination): Deliverer
}

/** A client, and the entry it was made for. */
interface Made<C> {
  from: string
  client: C
}

/** The clients of providers and destinations: made anew when their entry of the configuration changes, else kept with their connections. */
export class EndpointClients {
  readonly providers: Map<string, Provider> = new Map()
  readonly deliverers: Map<string, Deliverer> = new Map()
  private madeProviders = new Map<string, Made<Provider>>()
  private madeDeliverers = new Map<string, Made<Deliverer>>()
  private readonly retired = new Map<NodeJS.Timeout, { close(): Promise<void> | void }>()

  constructor(private readonly factories: ClientFactories) {}

  /** @throws what a factory throws; then all is as it was */
  use({ providers, destinations }: Endpoints): void {
    const nextProviders = remake(this.madeProviders, providers, this.factories.provider)
    const nextDeliverers = remake(this.madeDeliverers, destinations, this.factories.deliverer)
    this.retire(this.madeProviders, nextProviders)
    this.retire(this.madeDeliverers, nextDeliverers)
    this.madeProviders = nextProviders
    this.madeDeliverers = nextDeliverers
    fill(this.providers, nextProviders)
    this.providers.set('reference', this.factories.embedded)
    fill(this.deliverers, nextDeliverers)
  }

  async close(): Promise<void> {
    const open = [...this.retired.values(), ...this.madeProviders.values(), ...this.madeDeliverers.values()]
    for (const timer of this.retired.keys()) clearTimeout(timer)
    this.retired.clear()
    await Promise.all(open.map(one => this.end('client' in one ? one.client : one)))
  }

  private retire<C extends Provider | Deliverer>(before: Map<string, Made<C>>, after: Map<string, Made<C>>): void {
    for (const [name, { client }] of before) {
      if (after.get(name)?.client === client) continue
      const timer = setTimeout(() => {
        this.retired.delete(timer)
        void this.end(client)
      }, retiredMilliseconds).unref()
      this.retired.set(timer, client)
    }
  }

  private async end(client: { close(): Promise<void> | void }): Promise<void> {
    if (client !== this.factories.embedded) await client.close()
  }
}

function remake<S extends { name: string }, C>(
  before: ReadonlyMap<string, Made<C>>,
  entries: readonly S[],
  make: (entry: S) => C,
): Map<string, Made<C>> {
  return new Map(
    entries.map(entry => {
      const from = JSON.stringify(entry)
      const known = before.get(entry.name)
      return [entry.name, known?.from === from ? known : { from, client: make(entry) }]
    }),
  )
}

function fill<C>(target: Map<string, C>, made: ReadonlyMap<string, Made<C>>): void {
  target.clear()
  for (const [name, { client }] of made) target.set(name, client)
}
