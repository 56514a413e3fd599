import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { AxeBuilder } from '@axe-core/playwright'
import { afterAll, beforeAll, expect } from '@jest/globals'
import { Secret, TOTP } from 'otpauth'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import type { PhantomOptions } from '../../src/cli/phantom.js'
import { chromiumFlags } from '../fixtures/ohif.js'
import { multipart, multipartType } from '../fixtures/part10.js'
import { hasProgram, pathOf, testWhere } from '../fixtures/peers.js'
import { phantomFiles } from '../fixtures/phantom.js'
import { http, startTestService, type TestService, until } from '../fixtures/service.js'

const present = hasProgram('chromium')
const testWithBrowser = testWhere(present, 'Chromium is absent')
let broken = false
/** A step of one story: after one that failed, the others would wait in vain. */
function testConsole(name: string, step: () => Promise<void>, timeout?: number): void {
  testWithBrowser(
    name,
    async () => {
      if (broken) throw new Error('an earlier step failed')
      broken = true
      await step()
      broken = false
    },
    timeout,
  )
}
const artifacts = join(process.cwd(), 'artifacts')
const scratch = mkdtempSync(join(tmpdir(), 'radbridge-console-'))
const password = 'a password for the test'

const phantom: PhantomOptions = {
  size: 256,
  slices: 60,
  pixelSpacing: 1.3,
  sliceSpacing: 4,
  nodules: [
    { center: [-85, 10, 40], diameter: 16 },
    { center: [70, -20, -30], diameter: 14 },
  ],
  vessels: false,
  noise: 10,
  seed: 5,
  study: 'console',
  patientName: 'Console^Test',
}

/** For sending. */
let token: string | undefined

/** An archive that refuses everything until it is mended. */
let mended = false
const archive = createServer((req, res) => {
  req.resume()
  req.on('end', () => {
    if (req.method === 'GET') return void res.end('[]')
    if (!mended) return void res.writeHead(400).end('no')
    res.setHeader('Content-Type', 'application/dicom+json')
    res.end('{}')
  })
})

let service: TestService
let browser: Browser
let context: BrowserContext
let page: Page
const problems: string[] = []

beforeAll(async () => {
  if (!present) return
  mkdirSync(artifacts, { recursive: true })
  await new Promise<void>(resolve => archive.listen(0, '127.0.0.1', resolve))
  service = await startTestService()
  browser = await chromium.launch({ executablePath: pathOf('chromium'), args: chromiumFlags })
  context = await browser.newContext({ viewport: { width: 1280, height: 860 }, locale: 'en-GB' })
  page = await context.newPage()
  page.setDefaultTimeout(20_000)
  page.on('pageerror', error => problems.push(String(error)))
  page.on('console', message => {
    if (message.type() === 'error' && !/status of 4\d\d/.test(message.text())) problems.push(message.text())
  })
}, 180_000)
afterAll(async () => {
  await browser?.close()
  await service?.stop()
  archive.close()
  rmSync(scratch, { recursive: true, force: true })
})

const go = async (hash: string, heading: string) => {
  await page.goto(`${service.url}/#/${hash}`)
  await page.getByRole('heading', { level: 1, name: heading }).waitFor()
}
const field = (label: string) => page.getByLabel(label, { exact: true })
const button = (name: string | RegExp) => page.getByRole('button', { name, exact: typeof name === 'string' })

/** No serious finding by the rules of WCAG 2.2 AA, in light and dark. */
async function accessible(what: string): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    const { violations } = await new AxeBuilder({ page })
      .withTags(['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa'])
      .analyze()
    const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
    expect([
      what,
      colorScheme,
      serious.map(({ id, nodes }) => `${id}: ${nodes.map(node => node.html).join(' ')}`),
    ]).toEqual([what, colorScheme, []])
  }
  await page.emulateMedia({ colorScheme: 'light' })
}

const screenshot = (name: string) => page.screenshot({ path: join(artifacts, `console-${name}.png`) })

testConsole(
  'from the first run to the first result in the console alone',
  async () => {
    await go('', 'Dashboard')
    await page.getByText('Anybody who uses this machine').waitFor()
    await accessible('first run')
    await page.getByRole('link', { name: 'Open the wizard' }).click()
    await page.getByRole('heading', { name: 'First steps' }).waitFor()
    await accessible('wizard')
    await field('Name').fill('admin')
    await field('Password').fill(password)
    await button('Add an account').click()
    await page.getByText('Who may send studies').waitFor()
    await page.getByText('admin (administrator)').waitFor() // signed in with the account
    await button('Skip').click()
    await field('Name').fill('reading-room')
    await field('Kind').selectOption('folder')
    await field('Folder').fill(join(scratch, 'results'))
    await button('Next').click()
    await page.getByText('The reference analyser is for testing').waitFor()
    await button('Skip').click()
    await page.getByText('Which studies are analysed').waitFor()
    expect(await page.getByLabel('reading-room').isChecked()).toBe(true)
    await accessible('wizard: route')
    await button('Next').click()
    await button('What changes?').click()
    await page.getByText('+ destinations').waitFor()
    await page.getByText('it can be written').waitFor() // it was really tested
    await screenshot('wizard')
    await button('Apply').click()
    await page.getByText('Waiting for the first study').waitFor()
    await button('Make a token for sending, for one day').click()
    const command = await page.getByText(/RADBRIDGE_SEND=rb_/).textContent()

    const folder = join(scratch, 'study')
    mkdirSync(folder)
    const files = await phantomFiles(phantom)
    for (const [i, bytes] of files.entries()) writeFileSync(join(folder, `${i}.dcm`), bytes)
    let url: string | undefined
    ;[, token, url] = /RADBRIDGE_SEND=(\S+) npx radbridge send FILES --to (\S+) --token/.exec(command ?? '')!
    await promisify(execFile)(
      process.execPath,
      ['dist/cli/index.js', 'send', folder, '--to', url!, '--token', 'env:RADBRIDGE_SEND'],
      {
        env: { ...process.env, RADBRIDGE_SEND: token },
      },
    )
    await page.getByRole('link', { name: 'Open it' }).click()
    await page.getByRole('heading', { level: 1, name: 'Study' }).waitFor()
    await page.getByText('Console, Test').waitFor() // who may see images sees whose they are
    await page.getByText('completed', { exact: true }).first().waitFor({ timeout: 60_000 })
  },
  180_000,
)

testConsole(
  'the images with the findings drawn on them, the report as a tree, and files to download',
  async () => {
    await button('Show').first().click()
    const outline = page.locator('polygon.chosen')
    await outline.waitFor()
    // The outline lies within the picture, and the picture is there.
    const picture = page.locator('.image img')
    const width = await picture.evaluate(async node => {
      const image = node as unknown as { decode(): Promise<void>; naturalWidth: number }
      await image.decode()
      return image.naturalWidth
    })
    expect(width).toBe(256)
    const [inner, outer] = [(await outline.boundingBox())!, (await picture.boundingBox())!]
    expect(inner.x).toBeGreaterThan(outer.x)
    expect(inner.x + inner.width).toBeLessThan(outer.x + outer.width)
    await page.getByText('Nodule 1').first().waitFor()
    await accessible('findings')
    await screenshot('study')
    await button('wrong').first().click()
    await page.getByText('Noted: wrong').waitFor()

    await page.getByRole('tab', { name: 'Report' }).click()
    await page.getByText('Imaging Measurement Report').waitFor()
    await page.getByText('PRELIMINARY', { exact: true }).waitFor()
    await accessible('report')
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('link', { name: 'Download' }).first().click(),
    ])
    expect(download.suggestedFilename()).toMatch(/^2\.25\.\d+\.dcm$/)
    await page.getByRole('tab', { name: 'Timeline' }).click()
    await page.getByText('nothing arrived for').waitFor()
    await accessible('timeline')
    await page.getByRole('tab', { name: 'Deliveries' }).click()
    await page.getByText('delivered', { exact: true }).first().waitFor()
    await page.getByRole('tab', { name: 'Route' }).click()
    await page.getByText('chest: everything asked for is there').waitFor()
  },
  180_000,
)

testConsole('studies are found by the beginning of a name, and by the keyboard alone', async () => {
  await go('studies', 'Studies')
  const search = page.getByLabel('Search', { exact: true })
  await search.focus()
  await page.keyboard.type('conso')
  await page.keyboard.press('Enter')
  await page.getByText('Console, Test').waitFor()
  expect(page.url()).not.toContain('conso')
  await search.fill('somebody else')
  await page.keyboard.press('Enter')
  await page.getByText('No study is like that').waitFor()
  await search.fill('')
  await page.keyboard.press('Enter')
  await page.getByText('Console, Test').waitFor()
  await accessible('studies')
  await screenshot('studies')
})

testConsole('endpoints: what is added is tested, and what fails says what to do', async () => {
  await go('endpoints', 'Endpoints')
  const destinations = page.getByRole('region', { name: 'Destinations' }).first()
  await destinations.getByRole('button', { name: 'Add' }).click()
  await field('Name').fill('broken-archive')
  await field('Address').fill(`http://127.0.0.1:${(archive.address() as AddressInfo).port}/dicom-web`)
  await accessible('endpoint form')
  await button('Save').click()
  await page.getByRole('button', { name: 'Test broken-archive' }).click()
  await page.getByText('it answers a search').waitFor()
  await destinations.getByRole('button', { name: 'Add' }).click()
  await field('Name').fill('nowhere')
  await field('Address').fill('http://127.0.0.1:9/dicom-web')
  await button('Save').click()
  await page.getByRole('button', { name: 'Test nowhere' }).click()
  await page.getByText('nothing listens on this port').waitFor()
  await page.getByText('Check the port').waitFor()
  await page.getByRole('button', { name: 'Edit nowhere' }).click()
  expect(await field('Address').inputValue()).toBe('http://127.0.0.1:9/dicom-web')
  await field('Address').fill('http://127.0.0.1:9/another')
  await page.getByText('More', { exact: true }).click()
  await field('Class of reports').selectOption('comprehensive')
  await accessible('endpoint, edited')
  await button('Save').click()
  await page.getByRole('cell', { name: 'http://127.0.0.1:9/another' }).waitFor()
  const [row] = await service.query<{ document: { destinations: object[] } }>(
    'select document from configuration order by version desc limit 1',
  )
  expect(row!.document.destinations).toContainEqual({
    name: 'nowhere',
    stow: { url: 'http://127.0.0.1:9/another' },
    format: { report: 'comprehensive' },
  })
  await accessible('endpoints')
  await screenshot('endpoints')
})

testConsole('routes: changed, tried on what is stored and on a file, put in order, applied', async () => {
  await go('routes', 'Routes')
  await button('✎ chest').click()
  await page.getByLabel('broken-archive').check()
  await button('Save').click()
  await page.getByText('The routes in the editor are tried').waitFor()
  await button('On the studies of the last 30 days').click()
  await page.getByText('chest: 1').waitFor()
  await page.locator('input[type=file]').setInputFiles(join(scratch, 'study', '0.dcm'))
  await page.getByText('chest: everything asked for is there').waitFor()
  await button('Add a route').click()
  await field('Name').fill('mammography')
  await field('Modality').fill('MG')
  await field('Priority').selectOption('off-peak')
  await button('Save').click()
  await button('Move up: mammography').click()
  await accessible('routes')
  await screenshot('routes')
  await button('Apply').click()
  await button('Cancel').waitFor({ state: 'detached' })
  const [row] = await service.query<{ document: { routes: { name: string; deliverTo: string[] }[] } }>(
    'select document from configuration order by version desc limit 1',
  )
  expect(row!.document.routes.map(({ name }) => name)).toEqual(['mammography', 'chest'])
  expect(row!.document.routes[1]!.deliverTo).toEqual(['reading-room', 'broken-archive'])
})

testConsole(
  'a dead letter is taken up again once its destination is mended',
  async () => {
    await go('studies', 'Studies')
    await page.locator('tbody a').first().click()
    await button('Analyse again').click()
    await go('dead-letters', 'Dead letters')
    await page.getByRole('cell', { name: 'broken-archive' }).first().waitFor({ timeout: 60_000 })
    await accessible('dead letters')
    await screenshot('dead-letters')
    const boundary = { 'Content-Type': multipartType, Authorization: `Bearer ${token}` }
    const broken = multipart([Buffer.from('no DICOM at all')])
    expect((await http('POST', `${service.url}/dicom-web/studies`, boundary, broken)).status).toBe(409)
    await until('what was refused is told', async () => {
      await page.reload()
      const told = page.getByText('shorter than the 132 bytes').waitFor({ timeout: 2000 })
      return told.then(
        () => true,
        () => undefined,
      )
    })
    await go('', 'Dashboard')
    await page.getByRole('link', { name: 'Refused instances in 24 hours' }).click()
    await page.getByRole('heading', { level: 1, name: 'Dead letters' }).waitFor()
    mended = true
    await button(/^Retry all/).click()
    await page.getByText('No delivery has been given up').waitFor()
    await page.getByText('none', { exact: true }).waitFor() // no study is failed any more
  },
  180_000,
)

testConsole(
  'the configuration as text: an error with its line, what changes, and back to an earlier version',
  async () => {
    await go('configuration', 'Configuration')
    const text = page.getByLabel('Endpoints (YAML)')
    await until('the document is loaded', async () =>
      (await text.inputValue()).includes('reading-room') ? true : undefined,
    )
    const before = await text.inputValue()
    await text.fill(before.replace('deliverTo', 'delivrTo'))
    await button('What changes?').click()
    await page.getByText('did you mean deliverTo?').waitFor()
    await text.fill(
      `${before}providers:\n  - { name: next, kind: imaging-rest, baseUrl: 'http://127.0.0.1:9' }\n`.replace(
        /(name: chest[\s\S]*?primary: reference\n)/,
        '$1      canary: { provider: next, percent: 20 }\n',
      ),
    )
    await button('What changes?').click()
    await page.getByText('+ providers').waitFor()
    await accessible('configuration')
    await field('Comment').fill('a canary')
    await button('Apply').click()
    await page.getByRole('cell', { name: 'a canary' }).waitFor()
    await screenshot('configuration')
  },
)

testConsole('a canary is raised, and rolled back by one button', async () => {
  await go('canaries', 'Canaries')
  await page.getByRole('heading', { name: 'chest: 20 % → next' }).waitFor()
  await page.getByLabel('Set the share to').fill('60')
  await page.getByRole('region', { name: 'chest' }).getByRole('button', { name: 'Apply' }).click()
  await page.getByRole('heading', { name: 'chest: 60 % → next' }).waitFor()
  await accessible('canaries')
  await screenshot('canaries')
  await button('Roll back').click()
  await page.getByRole('alertdialog').getByRole('button', { name: 'Roll back' }).click()
  await page.getByRole('heading', { name: 'chest: 0 % → next' }).waitFor()
})

testConsole('the audit trail says who did what, and that it is whole', async () => {
  await go('audit', 'Audit')
  await field('Event').selectOption('configuration-changed')
  await page.getByText('a canary').first().waitFor()
  await button('Verify the trail').click()
  await page.getByText('none changed').waitFor()
  await accessible('audit')
  await screenshot('audit')
  await go('', 'Dashboard')
  await page.getByText('reference').first().waitFor()
  await accessible('dashboard')
  await screenshot('dashboard')
})

testConsole('a rule of notifications is made, sends a test, is changed and removed', async () => {
  await go('notifications', 'Notifications')
  await page.getByText('No rule is configured').waitFor()
  await button('Add a rule').click()
  await field('Name').fill('on-call')
  await page.getByLabel('urgent-finding').check()
  await field('Urgent finding: scheme of its type').fill('SCT')
  await field('Urgent finding: code of its type').fill('27925004')
  await field('Webhook').fill(`http://127.0.0.1:${(archive.address() as AddressInfo).port}/pager`)
  await accessible('notification form')
  await button('Save').click()
  await page.getByRole('button', { name: 'Send a test on-call' }).click()
  await page.getByText('Sent: ').waitFor()
  await page.getByRole('button', { name: 'Edit on-call' }).click()
  await page.getByLabel('urgent-finding').uncheck()
  await button('Save').click()
  await page.getByRole('cell', { name: 'dead-letter' }).waitFor()
  await until('the rule is changed', async () => {
    const [row] = await service.query<{ rules: { on: string[]; urgent?: object[] }[] }>(
      `select document -> 'notifications' rules from configuration order by version desc limit 1`,
    )
    return row!.rules[0]!.urgent === undefined && !row!.rules[0]!.on.includes('urgent-finding') ? true : undefined
  })
  await accessible('notifications')
  await button('Remove').click()
  await page.getByRole('alertdialog').getByRole('button', { name: 'Remove' }).click()
  await page.getByText('No rule is configured').waitFor()
})

testConsole('the own account: an authenticator is set up, the password is changed', async () => {
  await page.getByRole('link', { name: 'admin' }).click()
  await page.getByRole('heading', { level: 1, name: 'Your account' }).waitFor()
  await button('Set up an authenticator').click()
  await page.getByRole('img', { name: 'Scanned by an authenticator' }).waitFor()
  await accessible('account')
  const totp = new TOTP({ secret: Secret.fromBase32((await page.locator('code').textContent())!) })
  const setUp = page.locator('form').last()
  await setUp.getByLabel('Code of the authenticator').fill(totp.generate())
  await button('Confirm').click()
  await page.getByText('From now on a code of it is asked for').waitFor()
  await field('Current password').fill('not the password')
  await field('New password').fill(`${password}, another one`)
  await button('Change the password').click()
  await page.getByText('the current password, or the code, is wrong').waitFor()
  await field('Current password').fill(password)
  // A code is taken once: the next one.
  const next = totp.generate({ timestamp: Date.now() + 30_000 })
  await page.getByLabel('Code of the authenticator').first().fill(next)
  await button('Change the password').click()
  await page.getByRole('heading', { name: 'Radbridge' }).waitFor() // all sessions have ended
  await service.query(`update account set totp_last_step = 0 where name = 'admin'`)
  await field('Name').fill('admin')
  await field('Password').fill(`${password}, another one`)
  await button('Sign in').click()
  await page.getByLabel('Code of the authenticator').fill(totp.generate())
  await button('Sign in').click()
  await page.getByText('admin (administrator)').waitFor()
})

testConsole('a user without rights is refused, and does not see patients', async () => {
  await go('users', 'Users')
  const accounts = page.getByRole('region', { name: 'Accounts', exact: true }).first()
  await accounts.getByLabel('Name', { exact: true }).fill('night-shift')
  await accounts.getByLabel('Role', { exact: true }).selectOption('operator')
  await accounts.getByLabel('Password', { exact: true }).fill(password)
  await button('Add an account').click()
  await page.getByRole('cell', { name: 'night-shift' }).waitFor()
  await accessible('users')
  await button('Sign out').click()
  await accessible('sign in')
  await field('Name').fill('night-shift')
  await field('Password').fill('not the password')
  await button('Sign in').click()
  await page.getByText('wrong name, password or code').waitFor()
  await field('Password').fill(password)
  await button('Sign in').click()
  await page.getByText('night-shift (operator)').waitFor()
  await page.goto(`${service.url}/#/audit`)
  await page.getByText('You may not do this').waitFor()
  expect(await page.getByRole('link', { name: 'Users' }).count()).toBe(0)
  await go('studies', 'Studies')
  await page.locator('tbody a').first().waitFor()
  expect(await page.getByText('Console, Test').count()).toBe(0)
  await page.locator('tbody a').first().click()
  await page.getByRole('tab', { name: 'Findings' }).click()
  await page.getByText('shown to those with the permission images:read').waitFor()
  expect(await page.getByText('Console, Test').count()).toBe(0)
})

testConsole('in German', async () => {
  await field('Language').selectOption('de')
  await go('dead-letters', 'Unzustellbar')
  await page.getByText('Keine Zustellung wurde aufgegeben').waitFor()
  await go('studies', 'Studien')
  await page.getByRole('cell', { name: 'wird zugestellt' }).first().waitFor()
  expect(await page.locator('html').getAttribute('lang')).toBe('de')
})

testConsole('nothing went wrong in the browser, and nothing was asked of anybody else', async () => {
  expect(problems).toEqual([])
})
