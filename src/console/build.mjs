// Builds the console into dist/console, unless what it is made of is as it was.
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const root = fileURLToPath(new URL('.', import.meta.url))
const outDir = fileURLToPath(new URL('../../dist/console', import.meta.url))
const hash = createHash('sha256')
for (const entry of readdirSync(root, { recursive: true, withFileTypes: true }).filter(one => one.isFile()))
  hash.update(readFileSync(`${entry.parentPath}/${entry.name}`))
hash.update(readFileSync(new URL('../../package-lock.json', import.meta.url)))
const digest = hash.digest('hex')
const stamp = `${outDir}/.built-of`

if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== digest) {
  const { build } = await import('vite')
  await build({
    configFile: false,
    root,
    base: './',
    logLevel: 'warn',
    build: {
      outDir,
      emptyOutDir: true,
      target: 'es2022',
      modulePreload: { polyfill: false },
      assetsInlineLimit: 0,
      chunkSizeWarningLimit: 1000,
    },
  })
  // Compressed once, not for each who asks (src/admin/console.ts).
  for (const name of readdirSync(`${outDir}/assets`).filter(one => /\.(js|css)$/.test(one)))
    writeFileSync(`${outDir}/assets/${name}.gz`, gzipSync(readFileSync(`${outDir}/assets/${name}`), { level: 9 }))
  writeFileSync(stamp, digest)
}
