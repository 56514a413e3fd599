import { STATUS_CODES } from 'node:http'
import type { Response } from 'express'

/** What is wrong with a request; answered as problem document (RFC 9457). */
export class ApiProblem extends Error {
  constructor(
    readonly status: number,
    detail: string,
    /** Further members of the document. */
    readonly more: Record<string, unknown> = {},
  ) {
    super(detail)
  }
}

export function sendProblem(res: Response, status: number, detail: string, more: object = {}): void {
  res
    .status(status)
    .type('application/problem+json')
    .send(JSON.stringify({ type: 'about:blank', title: STATUS_CODES[status], status, detail, ...more }))
}
