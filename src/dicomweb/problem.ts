import type { Request, Response } from 'express'

/** An answer that is an error, as problem document of RFC 9457. `detail` says what to do about it, without patient data. */
export interface Problem {
  status: number
  title: string
  detail: string
  headers?: Record<string, string>
}

export function sendProblem(res: Response, problem: Problem): void {
  if (res.headersSent) return
  res
    .status(problem.status)
    .set(problem.headers ?? {})
    .type('application/problem+json')
    .send(JSON.stringify({ type: 'about:blank', title: problem.title, status: problem.status, detail: problem.detail }))
}

const lingerMilliseconds = 2000

/**
 * Answers a request whose body has not been read. The connection is closed after it, but not before the sender has had
 * a moment to read the answer: closing at once resets the connection and the answer is lost.
 */
export function sendProblemEarly(req: Request, res: Response, problem: Problem): void {
  if (res.headersSent) return
  const { status, title, detail } = problem
  const body = JSON.stringify({ type: 'about:blank', title, status, detail })
  res.writeHead(status, {
    ...problem.headers,
    'Content-Type': 'application/problem+json',
    'Content-Length': Buffer.byteLength(body),
    Connection: 'close',
  })
  res.write(body)
  const finish = () => {
    clearTimeout(timer)
    res.end()
  }
  const timer = setTimeout(finish, lingerMilliseconds)
  req.once('end', finish)
  req.once('close', finish)
  req.on('error', () => {})
  req.resume()
}
