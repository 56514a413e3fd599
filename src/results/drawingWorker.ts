import { move, transferableSymbol, valueSymbol } from 'piscina'
import { drawPicture, type KeyImage, type Picture } from './keyImage.js'

/** Draws one picture in a thread; its pixels come back without being copied. */
export default function run(picture: Picture): KeyImage {
  const drawn = drawPicture(picture)
  return move({
    get [transferableSymbol]() {
      return drawn.rgb.buffer
    },
    get [valueSymbol]() {
      return drawn
    },
  } as never) as unknown as KeyImage
}
