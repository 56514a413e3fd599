/** What O_DIRECT asks of memory, offsets and lengths on any disk. */
export const blockBytes = 4096
export const pieceBytes = 512 * 1024
const piecesAtOnce = 64

/** Those that nobody uses. What was used last is used first, so that memory is touched only as far as it is needed. */
const pieces: Buffer[] = []

/** Memory for {@link pieceBytes} that begins at a multiple of {@link blockBytes}; what stands in it is what was there before. */
export function takePiece(): Buffer {
  if (pieces.length === 0) morePieces()
  return pieces.pop()!
}

/** Of {@link takePiece}, and used no more. */
export function givePiece(piece: Buffer): void {
  pieces.push(piece)
}

declare const WebAssembly: {
  Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer }
} // of the browser's types, otherwise

/** The memory of WebAssembly is the only one that Node.js aligns to pages. It is given by the system where it is touched. */
function morePieces(): void {
  const pages = (pieceBytes * piecesAtOnce) / 65536
  const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages })
  for (let i = 0; i < piecesAtOnce; i++) pieces.push(Buffer.from(buffer, i * pieceBytes, pieceBytes))
}
