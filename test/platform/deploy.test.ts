import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { loadEndpoints, parseEndpoints } from '../../src/platform/readEndpoints.js'
import { loadSettings } from '../../src/platform/settings.js'
import { hasProgram, testWhere } from '../fixtures/peers.js'

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
