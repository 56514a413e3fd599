import * as client from 'openid-client'
import type { Database } from '../../platform/database.js'
import { resolveSecret } from '../../platform/secret.js'
import type { Settings } from '../../platform/settings.js'
import { OidcProblem } from './oidcProblem.js'
import { type Role, roleNames } from './permissions.js'

type OidcSettings = NonNullable<Settings['auth']['oidc']>

/** Somebody whom the identity provider has vouched for. */
export interface Vouched {
  name: string
  role: Role
  idToken: string | undefined
  /** Seconds until the provider's word ends, if it says. */
  expiresIn: number | undefined
}

const beginningMinutes = 10

/** Signing in by OpenID Connect: authorization code with PKCE. */
export class Oidc {
  private discovered: Promise<client.Configuration> | undefined

  constructor(
    private readonly settings: OidcSettings,
    private readonly database: Database,
  ) {}

  /** @returns the address that the browser is sent to */
  async begin(redirectUri: string): Promise<string> {
    const configuration = await this.configuration()
    const state = client.randomState()
    const nonce = client.randomNonce()
    const verifier = client.randomPKCECodeVerifier()
    await this.database.query(
      `with old as (delete from oidc_login where created_at < now() - interval '${beginningMinutes} minutes')
       insert into oidc_login (state, nonce, verifier) values ($1, $2, $3)`,
      [state, nonce, verifier],
    )
    return client.buildAuthorizationUrl(configuration, {
      redirect_uri: redirectUri,
      scope: this.settings.scope,
      state,
      nonce,
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    }).href
  }

  /** @param answer the address that the browser came back to. @throws OidcProblem */
  async finish(answer: URL): Promise<Vouched> {
    const { rows } = await this.database.query<{ state: string; nonce: string; verifier: string }>(
      `delete from oidc_login where state = $1 and created_at > now() - interval '${beginningMinutes} minutes' returning *`,
      [answer.searchParams.get('state')],
    )
    const begun = rows[0]
    if (!begun) throw new OidcProblem('signing in took too long, or did not begin here; try again')
    let tokens: Awaited<ReturnType<typeof client.authorizationCodeGrant>>
    try {
      tokens = await client.authorizationCodeGrant(await this.configuration(), answer, {
        expectedState: begun.state,
        expectedNonce: begun.nonce,
        pkceCodeVerifier: begun.verifier,
      })
    } catch (error) {
      const { error: code } = error as { error?: string }
      throw new OidcProblem(`the identity provider did not vouch for you (${code ?? (error as Error).message})`)
    }
    const claims = tokens.claims() as Record<string, unknown> | undefined
    const name = claimAt(claims, this.settings.nameClaim) ?? claims?.sub
    const role = this.roleOf(claimAt(claims, this.settings.rolesClaim))
    if (!role) throw new OidcProblem('the identity provider knows you, but none of your roles may use Radbridge')
    return { name: String(name), role, idToken: tokens.id_token, expiresIn: tokens.expiresIn() }
  }

  /** Where the browser signs out at the provider, if it can. */
  async signOutAddress(idToken: string, returnTo: string): Promise<string | undefined> {
    const configuration = await this.configuration()
    if (!configuration.serverMetadata().end_session_endpoint) return undefined
    return client.buildEndSessionUrl(configuration, { id_token_hint: idToken, post_logout_redirect_uri: returnTo }).href
  }

  private roleOf(claimed: unknown): Role | undefined {
    const names = (Array.isArray(claimed) ? claimed : [claimed]).map(String)
    // The one that may do most, of those that apply.
    return [...roleNames].reverse().find(role => this.settings.roles[role]?.some(name => names.includes(name)))
  }

  private configuration(): Promise<client.Configuration> {
    const { issuer, clientId, clientSecret } = this.settings
    const url = new URL(issuer)
    const plain = url.protocol === 'http:'
    this.discovered ??= client
      .discovery(
        url,
        clientId,
        clientSecret ? resolveSecret(clientSecret) : undefined,
        undefined,
        plain ? { execute: [client.allowInsecureRequests] } : {},
      )
      .catch(error => {
        this.discovered = undefined
        throw new OidcProblem(`the identity provider cannot be reached (${(error as Error).message})`)
      })
    return this.discovered
  }
}

/** @param path `realm_access.roles` */
function claimAt(claims: Record<string, unknown> | undefined, path: string): unknown {
  let value: unknown = claims
  for (const step of path.split('.')) value = (value as Record<string, unknown> | undefined)?.[step]
  return value
}
