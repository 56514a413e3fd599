#!/usr/bin/env node
import { setGlobalDispatcher } from 'undici'
import { httpAgent } from '../platform/httpAgent.js'
import { packageVersion } from '../platform/packageVersion.js'
import { SettingsError } from '../platform/settings.js'
import { UsageError } from './usageError.js'

interface CommandLine {
  summary: string
  /** Of a command of several. */
  usage?(): Promise<string>
  run(args: string[]): Promise<number>
}

const commands: Readonly<Record<string, CommandLine>> = {
  serve: {
    summary: 'serve [--config FILE]                     runs the service',
    run: async args => (await import('./serve.js')).serve(args),
  },
  demo: {
    summary: 'demo [FILE…] [--keep]                     a chest CT through the whole way, in a scratch folder',
    run: async args => (await import('./demo.js')).demo(args),
  },
  send: {
    summary: 'send FILE… --to URL [--token env:NAME]    sends files and folders by STOW-RS',
    run: async args => (await import('./send.js')).send(args),
  },
  follow: {
    summary: 'follow STUDY-UID [--at URL] [--token env:NAME]   shows how far a study is, as it happens',
    run: async args => (await import('./follow.js')).follow(args),
  },
  normalize: {
    summary: 'normalize IN OUT [--json] [--keep-photometric]   decodes a file, or a folder of files',
    run: async args => (await import('./normalize.js')).normalize(args),
  },
  report: {
    summary: 'report FINDINGS.json IMAGES… -o OUT       writes the DICOM results of a Findings document',
    run: async args => (await import('./report.js')).report(args),
  },
  show: {
    summary: 'show [--json] FILE…                       prints Structured Reports as trees, or as Findings documents',
    run: async args => (await import('./show.js')).show(args),
  },
  providers: {
    summary:
      'providers [--days N | --month YYYY-MM] [--changed-at DAY]   how providers did: latency, failures, cost, verdicts',
    run: async args => (await import('./providers.js')).providers(args),
  },
  dataset: {
    summary: 'dataset export -o FOLDER [--days N]       studies with verdicts, de-identified, for training',
    run: async args => (await import('./dataset.js')).dataset(args),
  },
  finetune: {
    summary: 'finetune create|list|events --provider NAME   has a provider train on an exported data set',
    run: async args => (await import('./finetune.js')).finetune(args),
  },
  config: {
    summary: 'config validate|apply|export|history|rollback|schema   endpoints as code, of a file or a running service',
    usage: async () => (await import('./config.js')).usage,
    run: async args => (await import('./config.js')).config(args),
  },
  audit: {
    summary: 'audit verify | audit export               the audit trail of a running service',
    run: async args => (await import('./audit.js')).audit(args),
  },
  fsck: {
    summary: 'fsck [--checksums] [--repair]             compares index and stored files, while the service is stopped',
    run: async args => (await import('./fsck.js')).fsck(args),
  },
  reindex: {
    summary: 'reindex                                   rebuilds a lost index from the stored files',
    run: async args => (await import('./fsck.js')).reindex(args),
  },
  conformance: {
    summary: 'conformance                               prints the DICOM conformance statement',
    run: async () => (await import('./conformance.js')).conformance(),
  },
  doctor: {
    summary: 'doctor [--config FILE]                    checks the environment and every endpoint',
    run: async args => (await import('./doctor.js')).doctor(args),
  },
}

async function main(): Promise<number> {
  const [name, ...args] = process.argv.slice(2)
  if (name === '--version' || name === '-V') {
    console.log(packageVersion)
    return 0
  }
  const command = name ? commands[name] : undefined
  if (!command) {
    const asked = name === undefined || ['help', '--help', '-h'].includes(name)
    const text = ['Usage: radbridge COMMAND', '', ...Object.values(commands).map(c => `  ${c.summary}`)].join('\n')
    if (asked) console.log(text)
    else console.error(`radbridge: there is no command ${name}\n\n${text}`)
    return asked ? 0 : 2
  }
  if (args.includes('--help') || args.includes('-h')) {
    console.log(`Usage: radbridge ${(await command.usage?.()) ?? command.summary}`)
    return 0
  }
  setGlobalDispatcher(httpAgent())
  return command.run(args)
}

main().then(
  code => {
    process.exitCode = code
  },
  error => {
    const calledWrongly = error instanceof UsageError || String(error?.code).startsWith('ERR_PARSE_ARGS')
    if (calledWrongly || error instanceof SettingsError) console.error(`radbridge: ${error.message}`)
    else
      console.error(`radbridge: ${error?.message ?? error}${error?.cause?.message ? ` (${error.cause.message})` : ''}`)
    process.exit(calledWrongly ? 2 : 1)
  },
)
