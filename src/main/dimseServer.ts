import { type Scp, startScp } from '../dimse/scp.js'
import { associationServices, expectedSource, type PipelineContext } from '../pipeline/index.js'
import { readTls } from '../platform/secret.js'
import { type Settings, SettingsError } from '../platform/settings.js'
import { followTls } from './tlsFiles.js'
import type { Undo } from './undo.js'

/** Listens for associations, unless that is turned off. */
export async function listenForAssociations(
  settings: Settings,
  context: PipelineContext,
  undo: Undo,
): Promise<Scp | undefined> {
  const { ingest, database, audit, log } = context
  const { port, aeTitle, maxAssociations, idleSeconds, tls } = settings.dimse
  if (port === 0) return undefined
  const host = settings.dimse.host ?? settings.http.host
  try {
    const scp = await startScp({
      host,
      port,
      aeTitle,
      peers: () => peersOf(context),
      maxAssociations,
      idleSeconds,
      tls: tls && readTls(tls),
      ingest,
      log,
      operations: associationServices(context),
      movedFor: study => expectedSource(database, study),
      refused: (name, address, why) =>
        audit.note({
          event: 'sender-refused',
          outcome: 'failure',
          actor: { name, address },
          detail: { by: 'association', why },
        }),
    })
    undo.push(() => scp.stop())
    if (tls) undo.push(followTls(tls, renewed => scp.useTls(renewed), log))
    return scp
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    throw new SettingsError(
      `port ${port} of ${host} is in use by another program; set RADBRIDGE_DIMSE_PORT, 0 to do without C-STORE`,
    )
  }
}

/** Without sources everybody; with sources of which none is one of DIMSE nobody. */
function peersOf({ endpoints: { sources } }: PipelineContext) {
  if (sources.length === 0) return undefined
  return sources.flatMap(({ name, dimse, accept }) => (dimse ? [{ name, ...dimse, rules: accept }] : []))
}
