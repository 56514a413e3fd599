import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { parse, parseAllDocuments } from 'yaml'
import { loadEndpoints, parseEndpoints } from '../../src/platform/readEndpoints.js'
import { loadSettings } from '../../src/platform/settings.js'
import { hasProgram, testWhere } from '../fixtures/peers.js'
import { haproxyConfiguration } from '../torture/cluster.mjs'

test('the example configurations of deploy/ are valid', () => {
  expect(loadEndpoints('deploy/endpoints.example.yaml').routes.map(route => route.name)).toEqual(['chest-ct'])
  const settings = loadSettings({}, 'deploy/radbridge.example.yaml')
  expect(settings).toMatchObject({ dataDirectory: '/var/lib/radbridge', dimse: { port: 11112 } })
})

test('what deploy/ starts is there, and its variables are known', () => {
  const dockerfile = readFileSync('deploy/Dockerfile', 'utf8')
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \.\/(?:src)?$/gm)].flatMap(match => match[1]!.split(' '))
  expect(copied.length).toBeGreaterThan(4)
  for (const path of copied) expect([path, existsSync(path)]).toEqual([path, true])
  const environment = parse(readFileSync('deploy/compose.yaml', 'utf8')).services.radbridge.environment
  const { PACS_TOKEN: _, ...ours } = environment as Record<string, string>
  expect(() => loadSettings({ ...ours, RADBRIDGE_ADMIN_TOKEN: 'a token of sixteen' })).not.toThrow()
  expect(readFileSync('deploy/radbridge.service', 'utf8')).toContain('dist/cli/index.js serve --config')
})

test('the demonstration has variables that are known, and endpoints that are valid', () => {
  const demo = parse(readFileSync('deploy/compose.demo.yaml', 'utf8'))
  const { PACS_TOKEN: _, ORTHANC_PASSWORD: __, ...ours } = demo.services.radbridge.environment as Record<string, string>
  expect(() => loadSettings(ours)).not.toThrow()
  const { routes, sources } = parseEndpoints(demo.configs.endpoints.content, 'endpoints.yaml')
  expect([routes.length, sources.length]).toEqual([2, 1])
  for (const service of Object.values<{ volumes?: string[] }>(demo.services))
    for (const volume of service.volumes ?? [])
      if (volume.startsWith('.')) expect(existsSync(join('deploy', volume.split(':')[0]!))).toBe(true)
})

/** Instructions with their lines joined, without comments. */
function instructionsOf(dockerfile: string): [name: string, rest: string][] {
  const lines = dockerfile
    .replace(/^#.*\n/gm, '')
    .replace(/\\\n\s*/g, '')
    .split('\n')
  return lines.filter(Boolean).map(line => {
    const [, name, rest] = /^([A-Z]+) (.*)$/.exec(line) ?? []
    expect([line, name]).toEqual([line, expect.any(String)])
    return [name!, rest!]
  })
}

/** Rules of hadolint, whose binaries cannot be had from npm or Debian. */
test('the Dockerfile keeps the rules of hadolint that there are occasions for', () => {
  const instructions = instructionsOf(readFileSync('deploy/Dockerfile', 'utf8'))
  const all = (name: string) => instructions.filter(([own]) => own === name).map(([, rest]) => rest)
  for (const image of all('FROM')) expect(image).toMatch(/^[\w./-]+:(?!latest\b)[\w.-]+( AS \w+)?$/) // DL3006, DL3007
  for (const folder of all('WORKDIR')) expect(folder).toMatch(/^\//) // DL3000
  expect(all('USER').at(-1)).toBe('node') // DL3002
  expect(all('ADD')).toEqual([]) // DL3020
  for (const command of all('RUN')) expect(command).not.toMatch(/\b(sudo|cd|apt|apt-get|curl|wget|npm install)\b/) // DL3003, DL3004, DL3008, DL3016, DL3027, DL4001
  for (const name of ['CMD', 'HEALTHCHECK']) expect([name, all(name).length]).toEqual([name, 1]) // DL4003, DL3012
  expect(JSON.parse(all('CMD')[0]!)).toEqual(['node', 'dist/cli/index.js', 'serve']) // DL3025
  expect(JSON.parse(/CMD (\[.*\])$/.exec(all('HEALTHCHECK')[0]!)![1]!)[0]).toBe('node')
  for (const port of all('EXPOSE').join(' ').split(' ')) expect(Number(port)).toBeLessThan(65_536) // DL3011
  const stages = all('FROM').map(image => / AS (\w+)$/.exec(image)?.[1])
  for (const source of all('COPY').flatMap(copy => /--from=(\w+)/.exec(copy)?.[1] ?? []))
    expect(stages).toContain(source) // DL3022
  expect(all('MAINTAINER')).toEqual([]) // DL4000
  const [last] = instructions
    .map(([name], i) => [name, i] as const)
    .filter(([name]) => name === 'USER')
    .slice(-1)
  expect(instructions.slice(last![1]).filter(([name]) => name === 'RUN')).toEqual([]) // nothing is built as the user that runs
})

test('what the Dockerfile copies is in the context that its .dockerignore leaves', () => {
  const kept = readFileSync('deploy/Dockerfile.dockerignore', 'utf8')
    .match(/^!.*$/gm)!
    .map(line => line.slice(1))
  const copied = instructionsOf(readFileSync('deploy/Dockerfile', 'utf8'))
    .filter(([name, rest]) => name === 'COPY' && !rest.startsWith('--from'))
    .flatMap(([, rest]) => rest.split(' ').slice(0, -1))
  expect(kept.toSorted()).toEqual(copied.toSorted())
})

testWhere(hasProgram('docker-compose'), 'docker-compose is not installed')('docker-compose takes its files', () => {
  // It is older than `content` of a configuration.
  const demo = readFileSync('deploy/compose.demo.yaml', 'utf8')
  const older = demo.replace(/content: \|\n( {6}.*\n)+/, 'file: endpoints.example.yaml\n')
  expect(older).not.toBe(demo)
  for (const [name, text] of [
    ['compose.yaml', readFileSync('deploy/compose.yaml', 'utf8')],
    ['compose.cluster.yaml', readFileSync('deploy/compose.cluster.yaml', 'utf8')],
    ['compose.demo.yaml', older],
  ] as const) {
    const variables = [...text.matchAll(/\$\{(\w+)/g)].map(match => [match[1]!, 'a-value'])
    const env = { ...process.env, ...Object.fromEntries(variables) }
    const told = spawnSync('docker-compose', ['-f', '-', '--project-directory', 'deploy', 'config', '-q'], {
      input: text,
      env,
      encoding: 'utf8',
    })
    expect([name, told.status, told.status === 0 || told.stderr]).toEqual([name, 0, true])
  }
})

testWhere(hasProgram('systemd-analyze'), 'systemd-analyze is absent')(
  'the unit is one that systemd understands, and exposes little',
  () => {
    // Its program and its user are those of another machine.
    const unit = readFileSync('deploy/radbridge.service', 'utf8')
      .replace('/usr/bin/node', '/bin/true')
      .replace('User=radbridge', 'User=nobody')
    const file = join(mkdtempSync(join(tmpdir(), 'radbridge-unit-')), 'radbridge.service')
    writeFileSync(file, unit)
    expect(execFileSync('systemd-analyze', ['verify', file], { encoding: 'utf8', stdio: 'pipe' })).toBe('')
    const told = execFileSync('systemd-analyze', ['security', '--offline=true', '--no-pager', file], {
      encoding: 'utf8',
      stdio: 'pipe',
    })
    expect(Number(/exposure level for \S+: ([\d.]+)/.exec(told)![1])).toBeLessThan(2.5)
  },
)

test('the nodes of the cluster have variables that are known, and stand in the configuration of HAProxy', () => {
  const { services } = parse(readFileSync('deploy/compose.cluster.yaml', 'utf8'), { merge: true })
  const { PACS_TOKEN: _, ...ours } = services.node1.environment as Record<string, string>
  const settings = loadSettings({ ...ours, RADBRIDGE_ADMIN_TOKEN: 'a token of sixteen' })
  expect(settings).toMatchObject({ storageDirectory: '/archive', http: { drainSeconds: 5 } })
  const haproxy = readFileSync('deploy/haproxy.cfg', 'utf8')
  const nodes = Object.keys(services).filter(name => name.startsWith('node'))
  expect(nodes).toHaveLength(3)
  for (const name of nodes)
    for (const port of [8080, 11112]) expect(haproxy).toContain(`server ${name} ${name}:${port}`)
})

testWhere(hasProgram('haproxy'), 'HAProxy is not installed')('HAProxy takes its configuration', () => {
  const nodes = [1, 2, 3].map(n => ({ port: 18080 + n, dimsePort: 18090 + n }))
  const file = join(mkdtempSync(join(tmpdir(), 'radbridge-haproxy-')), 'haproxy.cfg')
  writeFileSync(file, haproxyConfiguration(nodes, 18080, 18090))
  const words = execFileSync('haproxy', ['-c', '-f', file], { encoding: 'utf8', stdio: 'pipe' })
  expect(words).toBe('Configuration file is valid\n')
})

const sprig = '/usr/share/gocode/src/github.com/Masterminds/sprig'
const withHelm = testWhere(
  hasProgram('go') && existsSync(sprig),
  'the engine of Helm (golang-go, sprig) is not installed',
)

/** Documents of the chart, by the engine that Helm uses (test/fixtures/helmTemplate.go). */
function renderChart(change: (values: Values) => void = () => {}) {
  const folder = mkdtempSync(join(tmpdir(), 'radbridge-chart-'))
  const values = parse(readFileSync('deploy/helm/radbridge/values.yaml', 'utf8')) as Values
  change(values)
  const chart = parse(readFileSync('deploy/helm/radbridge/Chart.yaml', 'utf8')) as object
  const capitalized = Object.entries(chart).map(([key, value]) => [key[0]!.toUpperCase() + key.slice(1), value])
  writeFileSync(join(folder, 'values.json'), JSON.stringify(values))
  writeFileSync(join(folder, 'chart.json'), JSON.stringify(Object.fromEntries(capitalized)))
  const text = execFileSync(
    'go',
    [
      'run',
      'test/fixtures/helmTemplate.go',
      'deploy/helm/radbridge',
      join(folder, 'values.json'),
      join(folder, 'chart.json'),
    ],
    {
      encoding: 'utf8',
      stdio: 'pipe',
      env: { ...process.env, GO111MODULE: 'off', GOPATH: '/usr/share/gocode', GOCACHE: join(tmpdir(), 'radbridge-go') },
    },
  )
  return parseAllDocuments(text)
    .map(document => {
      expect(document.errors).toEqual([])
      return document.toJS()
    })
    .filter(document => document !== null)
}
// biome-ignore lint/suspicious/noExplicitAny: values are whatever the chart has
type Values = any

withHelm(
  'the chart makes deployments whose variables are known, and services that find their pods',
  () => {
    const documents = renderChart()
    const ofKind = (kind: string) => documents.filter(document => document.kind === kind)
    const deployments = ofKind('Deployment')
    expect(deployments.map(({ metadata }) => metadata.name).sort()).toEqual([
      'radbridge-admin',
      'radbridge-receive',
      'radbridge-work',
    ])
    for (const { spec } of deployments) {
      const { labels } = spec.template.metadata
      expect(labels).toMatchObject(spec.selector.matchLabels)
      const [container] = spec.template.spec.containers
      const environment = Object.fromEntries(
        container.env.map(({ name, value }: { name: string; value?: string }) => [
          name,
          value ?? 'postgresql://host/db',
        ]),
      )
      const settings = loadSettings({ ...environment, RADBRIDGE_ADMIN_TOKEN: 'a token of sixteen' })
      for (const role of settings.roles) expect(labels[`radbridge/${role}`]).toBe('true')
      expect(spec.template.spec.terminationGracePeriodSeconds).toBeGreaterThan(settings.http.drainSeconds)
      const mounts = container.volumeMounts.map(({ name }: { name: string }) => name)
      expect(spec.template.spec.volumes.map(({ name }: { name: string }) => name).sort()).toEqual(mounts.sort())
      expect(container.securityContext).toMatchObject({ readOnlyRootFilesystem: true, allowPrivilegeEscalation: false })
    }
    for (const { spec } of ofKind('Service'))
      expect(
        deployments.some(deployment =>
          Object.entries(spec.selector).every(
            ([key, value]) => deployment.spec.template.metadata.labels[key] === value,
          ),
        ),
      ).toBe(true)
    const [{ data }] = ofKind('ConfigMap')
    // Bound to all addresses it refuses to start without somebody who may push.
    expect(parseEndpoints(data['endpoints.yaml'], 'endpoints.yaml').sources).toHaveLength(1)
    const file = join(mkdtempSync(join(tmpdir(), 'radbridge-chart-')), 'radbridge.yaml')
    writeFileSync(file, data['radbridge.yaml'])
    expect(loadSettings({}, file).study.quietSeconds).toBe(30)
    expect(ofKind('PersistentVolumeClaim')[0].spec.accessModes).toEqual(['ReadWriteMany'])
  },
  180_000,
)

withHelm(
  'with a bucket there is no volume; with an ingress DICOMweb goes to those who receive',
  () => {
    const documents = renderChart(values => {
      values.storage.s3.url = 's3://hospital/radbridge'
      values.storage.s3.endpoint = 'https://s3.example.org'
      values.ingress.enabled = true
      values.metrics.serviceMonitor = true
    })
    const kinds = documents.map(({ kind }) => kind)
    expect(kinds).not.toContain('PersistentVolumeClaim')
    expect(kinds).toContain('PodMonitor')
    const [{ spec }] = documents.filter(({ kind }) => kind === 'Deployment')
    const environment = Object.fromEntries(
      spec.template.spec.containers[0].env.map(({ name, value }: { name: string; value?: string }) => [
        name,
        value ?? 'postgresql://host/db',
      ]),
    )
    expect(loadSettings(environment)).toMatchObject({
      bucket: { name: 'hospital', prefix: 'radbridge/' },
      storage: { s3: { endpoint: 'https://s3.example.org' } },
    })
    const { paths } = documents.find(({ kind }) => kind === 'Ingress').spec.rules[0].http
    expect(paths[0]).toMatchObject({ path: '/dicom-web', backend: { service: { name: 'radbridge-receive' } } })
  },
  180_000,
)

test('the workflow of a release runs scripts that there are', () => {
  const { jobs } = parse(readFileSync('.github/workflows/release.yml', 'utf8'))
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8'))
  // biome-ignore lint/suspicious/noExplicitAny: a workflow is what it is
  const steps = Object.values<any>(jobs).flatMap(job => job.steps)
  for (const { uses } of steps) if (uses) expect(uses).toMatch(/@v\d+$/)
  const commands = steps.map(({ run }) => run ?? '').join('\n')
  for (const [, name] of commands.matchAll(/npm run (?:--silent )?([\w:-]+)/g)) expect(scripts).toHaveProperty(name!)
  for (const path of commands.matchAll(/(?:deploy|\.ci)\/[\w/.-]+/g))
    expect([path[0], existsSync(path[0])]).toEqual([path[0], true])
})
