import { existsSync, readFileSync } from 'node:fs'
import { expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { loadEndpoints } from '../../src/platform/readEndpoints.js'
import { loadSettings } from '../../src/platform/settings.js'

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
