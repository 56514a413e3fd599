/** Signing in by OpenID Connect failed; the message is for the one who tried. */
export class OidcProblem extends Error {}
