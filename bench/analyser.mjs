// The reference analyser on a chest CT of 300 slices of 512 × 512 through the service: seconds of the analysis (decoding included) and
// the service's peak resident memory. node bench/analyser.mjs — after `npm run build`.
import { readFileSync } from 'node:fs'
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { demoPhantom, Phantom } from '../dist/cli/phantom.js'
import { residentBytes, startRadbridge } from './contenders.mjs'
import { post } from './load.mjs'

const radbridge = await startRadbridge(
  { RADBRIDGE_QUIET_SECONDS: '1' },
  'routes: [{ name: all, analysis: { primary: reference } }]\n',
)
const phantom = new Phantom({
  ...demoPhantom,
  size: 512,
  slices: 300,
  pixelSpacing: 0.65,
  sliceSpacing: 1,
  study: 'bench-analyser',
})
const before = residentBytes(radbridge.child.pid)
const agent = new http.Agent({ keepAlive: true })
await post(radbridge.stow, agent, [...phantom.files()])
agent.destroy()
const api = radbridge.probe.replace('/readyz', '/api/studies')
let study
do {
  await sleep(200)
  study = (await (await fetch(api)).json())[0]
} while (study.state !== 'completed' && study.state !== 'failed')
const { timeline, analyses, reason } = await (await fetch(`${api}/${study.studyInstanceUid}`)).json()
const at = kind => Date.parse(timeline.find(event => event.kind === kind)?.at)
const peak = Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${radbridge.child.pid}/status`, 'utf8'))[1]) * 1024
console.log(
  `${study.state}, ${analyses[0].status}, ${reason ?? ''}: ${analyses[0].findings} findings (4 nodules and 2 lungs are there)`,
)
console.log(
  `analysis ${((at('reporting') - at('analyzing')) / 1000).toFixed(1)} s; resident memory ${(before / 1e6).toFixed(0)} MB before, ${(peak / 1e6).toFixed(0)} MB at most (the volume itself is 157 MB)`,
)
await radbridge.stop()
