import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { parseAccept, parseMediaType } from '../../src/dicomweb/mediaType.js'
import { MultipartSplitter } from '../../src/dicomweb/multipartSplitter.js'

function split(
  body: Buffer,
  cuts: readonly number[],
  boundary = 'B',
): { parts: Buffer[]; headers: string[]; closed: boolean } {
  const parts: Buffer[][] = []
  const headers: string[] = []
  let ended = 0
  const splitter = new MultipartSplitter(boundary, {
    partBegin: h => {
      parts.push([])
      headers.push(h['content-type'] ?? '')
    },
    partData: bytes => {
      parts.at(-1)!.push(Buffer.from(bytes))
      return undefined
    },
    partEnd: () => ended++,
  })
  let from = 0
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    splitter.write(body.subarray(from, cut))
    from = cut
  }
  splitter.write(body.subarray(from))
  splitter.end()
  expect(ended).toBe(parts.length)
  return { parts: parts.map(pieces => Buffer.concat(pieces)), headers, closed: splitter.closed }
}

// Bytes that often look like the beginning of a delimiter.
const nasty = fc
  .array(fc.constantFrom('\r', '\n', '-', '--', 'B', '\r\n--', '\r\n--B', '\r\n--Bx', '\n--B', 'x', '\0'), {
    maxLength: 40,
  })
  .map(pieces => Buffer.from(pieces.join(''), 'latin1'))
  .filter(
    part =>
      !/\r\n--B(--|[ \t]*(\r\n|\n|$|\r$))/.test(part.toString('latin1')) &&
      !/^--B(--|[ \t]*(\r|\n|$))/.test(part.toString('latin1')) &&
      !/\r\n--B-?$/.test(part.toString('latin1')),
  )

test('any parts, cut into any chunks, come out as they went in', () => {
  fc.assert(
    fc.property(
      fc.array(nasty, { minLength: 1, maxLength: 5 }),
      fc.array(fc.nat(400), { maxLength: 12 }),
      (parts, cuts) => {
        const body = Buffer.concat([
          ...parts.flatMap((part, i) => [
            Buffer.from(`${i > 0 ? '\r\n' : ''}--B\r\nContent-Type: p/${i}\r\n\r\n`),
            part,
          ]),
          Buffer.from('\r\n--B--\r\nepilogue'),
        ])
        const result = split(
          body,
          cuts.filter(cut => cut < body.length),
        )
        expect(result.closed).toBe(true)
        expect(result.headers).toEqual(parts.map((_, i) => `p/${i}`))
        expect(result.parts.map(p => p.toString('latin1'))).toEqual(parts.map(p => p.toString('latin1')))
      },
    ),
    { numRuns: 2000 },
  )
})

test('any bytes at all neither throw nor hang', () => {
  fc.assert(
    fc.property(nasty, fc.array(fc.nat(100), { maxLength: 5 }), (body, cuts) => {
      split(
        body,
        cuts.filter(cut => cut < body.length),
      )
    }),
    { numRuns: 2000 },
  )
})

test.each([
  ['multipart/related; type="application/dicom"; boundary="a;b"', { type: 'application/dicom', boundary: 'a;b' }],
  ['multipart/related;boundary=x;TYPE=application/dicom', { type: 'application/dicom', boundary: 'x' }],
])('media type %s', (text, parameters) => {
  expect(parseMediaType(text)).toEqual({ type: 'multipart/related', parameters })
})

test('Accept in the order of q-values', () => {
  expect(parseAccept('a/b;q=0.1, c/d, e/f;q=0').map(t => t.type)).toEqual(['c/d', 'a/b'])
  expect(parseAccept(undefined)[0]!.type).toBe('*/*')
})
