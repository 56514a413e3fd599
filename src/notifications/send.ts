import { createHmac, randomUUID } from 'node:crypto'
import type { Transporter } from 'nodemailer'
import { request } from 'undici'
import type { Database, Queryable } from '../platform/database.js'
import type { Endpoints } from '../platform/endpoints.js'
import type { JobContext } from '../platform/jobs.js'
import type { NotificationRule } from '../platform/notificationSettings.js'
import { resolveSecret } from '../platform/secret.js'
import type { Settings } from '../platform/settings.js'

const timeoutMilliseconds = 15_000

interface Message {
  id: string
  event: string
  at: string
  summary: string
  study?: string
  /** Of the console. */
  link?: string
  patient?: { name: string | null; id: string | null; accessionNumber: string | null }
  /** So many more were not told, over the limit of the rule. */
  suppressed?: number
  detail: object
}

/** Sends what rules ask for, by webhook and by e-mail. */
export class Notifier {
  private transport: Transporter | undefined

  constructor(
    private readonly options: {
      database: Database
      mail: Settings['mail']
      publicUrl: string | undefined
    },
  ) {}

  /** Sends a notification that was raised. @throws if it could not be sent; then it is tried again */
  async send(id: number, rules: Endpoints['notifications'], job: JobContext): Promise<void> {
    const { database } = this.options
    const { rows } = await database.query<NotificationRow>(
      `select id, rule, event, study_instance_uid study, summary, detail, state, created_at "createdAt" from notification where id = $1`,
      [id],
    )
    const row = rows[0]
    if (row?.state !== 'pending') return
    const rule = rules.find(entry => entry.name === row.rule)
    if (!rule) {
      await ended(database, id, 'dead', 'its rule is no longer configured')
      return
    }
    try {
      await this.deliver(rule, await this.messageOf(row, rule))
      await ended(database, id, 'sent', null)
      await database.query(`delete from notification where rule = $1 and state = 'suppressed' and created_at <= $2`, [
        rule.name,
        row.createdAt,
      ])
      job.log.info('notification sent', { rule: rule.name, event: row.event })
    } catch (error) {
      await ended(database, id, job.lastAttempt ? 'dead' : 'pending', (error as Error).message)
      throw error
    }
  }

  /** Sends a message that says it is a test. @returns to whom @throws why it could not be sent */
  async test(rule: NotificationRule): Promise<string> {
    const link = this.options.publicUrl
    await this.deliver(rule, {
      id: randomUUID(),
      event: 'test',
      at: new Date().toISOString(),
      summary: `This is a test of the rule ${rule.name}. Nothing has happened.`,
      ...(link ? { link } : {}),
      detail: {},
    })
    return addresseeOf(rule)
  }

  close(): void {
    this.transport?.close()
  }

  private async messageOf(row: NotificationRow, rule: NotificationRule): Promise<Message> {
    const { database, publicUrl } = this.options
    const { rows } = await database.query<{ suppressed: number }>(
      `select count(*)::int suppressed from notification where rule = $1 and state = 'suppressed'`,
      [rule.name],
    )
    const suppressed = rows[0]!.suppressed
    const patient = rule.patient && row.study ? await patientOf(database, row.study) : undefined
    return {
      id: `${rule.name}-${row.id}`,
      event: row.event,
      at: row.createdAt.toISOString(),
      summary: row.summary,
      ...(row.study ? { study: row.study } : {}),
      ...(row.study && publicUrl ? { link: `${publicUrl.replace(/\/$/, '')}/#/studies/${row.study}` } : {}),
      ...(patient ? { patient } : {}),
      ...(suppressed > 0 ? { suppressed } : {}),
      detail: row.detail,
    }
  }

  private async deliver(rule: NotificationRule, message: Message): Promise<void> {
    // Both, also when the first one fails; who gets it again knows it by its id.
    const outcomes = await Promise.allSettled([
      ...(rule.webhook ? [postWebhook(rule.webhook, message)] : []),
      ...(rule.email ? [this.mail(rule.email, message)] : []),
    ])
    const failed = outcomes.find(outcome => outcome.status === 'rejected')
    if (failed) throw failed.reason
  }

  private async mail({ to }: NonNullable<NotificationRule['email']>, message: Message): Promise<void> {
    const { mail } = this.options
    if (!mail) throw new Error('e-mail: no SMTP server is set (mail.host, mail.from in radbridge.yaml)')
    const { createTransport } = await import('nodemailer') // for those who want mail
    this.transport ??= createTransport({
      host: mail.host,
      port: mail.port,
      secure: mail.tls === 'implicit',
      requireTLS: mail.tls === 'starttls',
      ignoreTLS: mail.tls === 'none',
      ...(mail.username && mail.password ? { auth: { user: mail.username, pass: resolveSecret(mail.password) } } : {}),
      connectionTimeout: timeoutMilliseconds,
      greetingTimeout: timeoutMilliseconds,
      socketTimeout: timeoutMilliseconds,
    })
    await this.transport.sendMail({
      from: mail.from,
      to,
      subject: `[Radbridge] ${message.event}`,
      messageId: `<${message.id}@radbridge>`,
      text: textOf(message),
    })
  }
}

interface NotificationRow {
  id: number
  rule: string
  event: string
  study: string | null
  summary: string
  detail: object
  state: string
  createdAt: Date
}

async function ended(db: Queryable, id: number, state: string, error: string | null): Promise<void> {
  await db.query(
    `update notification set state = $2, last_error = $3, attempts = attempts + 1, sent_at = case when $2 = 'sent' then now() end where id = $1`,
    [id, state, error],
  )
}

async function patientOf(db: Queryable, study: string): Promise<Message['patient']> {
  const { rows } = await db.query<NonNullable<Message['patient']>>(
    `select patient_name name, patient_id id, accession_number "accessionNumber" from study where study_instance_uid = $1`,
    [study],
  )
  return rows[0]
}

async function postWebhook({ url, secret }: NonNullable<NotificationRule['webhook']>, message: Message): Promise<void> {
  const body = JSON.stringify(message)
  const seconds = Math.floor(Date.now() / 1000)
  const signature = secret && createHmac('sha256', resolveSecret(secret)).update(`${seconds}.${body}`).digest('hex')
  const { statusCode, body: answer } = await request(url, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'X-Radbridge-Event': message.event,
      'X-Radbridge-Id': message.id,
      ...(signature ? { 'X-Radbridge-Signature': `t=${seconds},sha256=${signature}` } : {}),
    },
    body,
    headersTimeout: timeoutMilliseconds,
    bodyTimeout: timeoutMilliseconds,
  })
  await answer.dump()
  if (statusCode >= 300) throw new Error(`the webhook answered ${statusCode}`)
}

export function addresseeOf({ webhook, email }: NotificationRule): string {
  return [webhook && new URL(webhook.url).host, ...(email?.to ?? [])].filter(Boolean).join(', ')
}

function textOf({ summary, at, link, study, patient, suppressed }: Message): string {
  return [
    summary,
    '',
    `Time: ${at}`,
    ...(study ? [`Study: ${study}`] : []),
    ...(patient
      ? [`Patient: ${patient.name ?? ''} (${patient.id ?? ''}), accession number ${patient.accessionNumber ?? ''}`]
      : []),
    ...(suppressed ? [`${suppressed} more were not told, over the limit of this rule.`] : []),
    ...(link ? [link] : []),
  ].join('\n')
}
