// A bare node:http server that writes each body to a file and fdatasyncs it: the floor of bench/ingest.mjs.
import { open } from 'node:fs/promises'
import http from 'node:http'
import { join } from 'node:path'

const [port, folder] = process.argv.slice(2)
let count = 0
http
  .createServer(async (req, res) => {
    if (req.method !== 'POST') return res.end()
    const file = await open(join(folder, String(count++)), 'w')
    for await (const chunk of req) await file.write(chunk)
    await file.datasync()
    await file.close()
    res.end('{}')
  })
  .listen(Number(port), '127.0.0.1')
