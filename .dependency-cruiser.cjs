// The order of dependencies (docs/architecture.md): a wrong import fails `npm run check`.
// cli, main → admin, dicomweb, dimse, pipeline → ingest, analysis, results, delivery → archive, pixels, privacy → dicom; anyone may use platform.
const layers = [
  ['cli', 'main'],
  ['admin', 'dicomweb', 'dimse', 'notifications', 'pipeline'],
  ['ingest', 'analysis', 'results', 'delivery'],
  ['archive', 'pixels', 'privacy'],
  ['dicom'],
]
const pathOf = names => `^src/(${names.join('|')})(/|\\.ts$)`

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'platform-uses-nobody',
      severity: 'error',
      from: { path: '^src/platform/' },
      to: { path: '^src/(?!platform/)' },
    },
    ...layers.slice(1).map((names, i) => ({
      name: `${names.join('-')}-uses-what-is-below`,
      severity: 'error',
      from: { path: pathOf(names) },
      to: { path: pathOf(layers.slice(0, i + 1).flat()) },
    })),
    {
      name: 'providers-know-no-encoding',
      severity: 'error',
      from: { path: '^src/analysis/' },
      to: { path: '^src/(results|ingest|delivery|archive)/' },
    },
    {
      name: 'results-know-no-provider',
      severity: 'error',
      from: { path: '^src/results/' },
      to: { path: '^src/analysis/providers/' },
    },
    {
      name: 'ingest-knows-no-analysis',
      severity: 'error',
      from: { path: '^src/(ingest|pixels)/' },
      to: { path: '^src/(analysis|results|delivery)/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^src/console/' }, // a program of its own, which imports nothing of the service: its tsconfig sees to that
    parser: 'swc',
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
  },
}
