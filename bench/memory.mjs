// A bare node:http server that sends bytes of memory, the same again and again: the floor of retrieving in bench/dicomweb.mjs.
import http from 'node:http'

const [port, length, count] = process.argv.slice(2).map(Number)
const bytes = Buffer.alloc(length, 1)
http
  .createServer(async (req, res) => {
    if (req.url === '/ready') return res.end()
    res.setHeader('Content-Length', length * count)
    for (let i = 0; i < count; i++) if (!res.write(bytes)) await new Promise(resolve => res.once('drain', resolve))
    res.end()
  })
  .listen(port, '127.0.0.1')
