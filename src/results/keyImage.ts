import type { NormalizedImage } from '../analysis/normalizedStudy.js'
import { greyLevels } from '../pixels/greyLevels.js'
import { type ViewableImage, viewable } from '../pixels/view.js'
import { drawText, glyphHeight, glyphWidth } from './bitmapFont.js'

export interface KeyImage {
  rows: number
  columns: number
  /** Row by row, colour by pixel, 8 bits. */
  rgb: Uint8Array
}

/** An outline in the coordinates of the image, in pixel corners, and what it shows. */
export interface Outline {
  points: readonly (readonly [number, number])[]
  label: string
}

/** What a picture is made of: plain data, so that it can be made in another thread. */
export type Picture = ImagePicture | { lines: readonly string[] }

interface ImagePicture {
  image: DrawnImage
  /** Real values over the image, in colours from transparent at `lowest` to red at `highest`. */
  heat?: { rows: number; columns: number; values: ArrayLike<number>; lowest: number; highest: number }
  outlines: readonly Outline[]
  /** Lines at the foot, broken where they are too long; they tell a reader that a machine made the picture. */
  legend: readonly string[]
}

type DrawnImage = Omit<ViewableImage, 'bitsStored' | 'signed'>

/** Decodes an image for drawing. */
export async function imageToDraw(image: NormalizedImage): Promise<DrawnImage> {
  return viewable(image, await image.pixels(), image.header, image.frame - 1)
}

const outlineColour = [255, 176, 0] as const
const textColour = [255, 255, 255] as const
/** Pictures are enlarged until their shorter side has so many pixels. */
const wantedSize = 512
const maxScale = 4
const textScale = 2
const margin = 4

/** A picture of an image in its own window, with findings outlined and labelled, and lines of text at its foot; or a page of lines alone. */
export function drawPicture(picture: Picture): KeyImage {
  return 'image' in picture ? drawKeyImage(picture) : drawPage(picture.lines)
}

const pageColumns = 1024
const maxPageLines = 200
const pageLeading = Math.round(1.5 * glyphHeight * textScale)

/** Black, with as many rows as the lines need. */
function drawPage(text: readonly string[]): KeyImage {
  const all = text.flatMap(line => wrapped(line, Math.floor((pageColumns - 2 * margin) / (glyphWidth * textScale))))
  const lines =
    all.length > maxPageLines ? [...all.slice(0, maxPageLines), `${all.length - maxPageLines} more lines`] : all
  const rows = (lines.length + 1) * pageLeading
  const rgb = new Uint8Array(rows * pageColumns * 3)
  const set = (x: number, y: number, colour: readonly [number, number, number]) => {
    if (x >= 0 && x < pageColumns && y >= 0 && y < rows) rgb.set(colour, (y * pageColumns + x) * 3)
  }
  for (const [i, line] of lines.entries())
    write(line, margin, (i + 0.5) * pageLeading, i === 0 ? outlineColour : textColour, set)
  return { rows, columns: pageColumns, rgb }
}

function drawKeyImage({ image, heat, outlines, legend }: ImagePicture): KeyImage {
  const scale = Math.max(1, Math.min(maxScale, Math.ceil(wantedSize / Math.min(image.rows, image.columns))))
  const columns = image.columns * scale
  const lines = legend.flatMap(line => wrapped(line, Math.floor((columns - 2 * margin) / (glyphWidth * textScale))))
  const foot = (lines.length * glyphHeight + 2) * textScale
  const rows = image.rows * scale + foot
  const rgb = new Uint8Array(rows * columns * 3)
  const set = (x: number, y: number, colour: readonly [number, number, number]) => {
    if (x >= 0 && x < columns && y >= 0 && y < rows) rgb.set(colour, (y * columns + x) * 3)
  }
  paint(rgb, columns, scale, image)
  if (heat) overlay(rgb, columns, image.rows * scale, scale * (image.columns / heat.columns), heat)
  for (const outline of outlines) drawOutline(outline, scale, set)
  for (const outline of outlines) write(outline.label, ...labelPlace(outline, scale, columns), outlineColour, set)
  for (const [i, line] of lines.entries())
    write(line, margin, image.rows * scale + (i * glyphHeight + 2) * textScale, textColour, set)
  return { rows, columns, rgb }
}

type SetPixel = (x: number, y: number, colour: readonly [number, number, number]) => void

function paint(rgb: Uint8Array, width: number, scale: number, image: DrawnImage): void {
  const { samples, photometric } = image
  const colour = photometric === 'RGB'
  const grey = colour ? undefined : greyLevels(image)
  for (let y = 0; y < image.rows * scale; y++) {
    for (let x = 0; x < width; x++) {
      const pixel = Math.floor(y / scale) * image.columns + Math.floor(x / scale)
      const at = (y * width + x) * 3
      for (let c = 0; c < 3; c++) rgb[at + c] = grey ? grey(samples[pixel]!) : samples[pixel * 3 + c]!
    }
  }
}

const opacity = 0.6

/** Blue over green to red, the stronger the more opaque: the image stays visible where the map says nothing. */
function overlay(
  rgb: Uint8Array,
  width: number,
  height: number,
  scale: number,
  { rows, columns, values, lowest, highest }: NonNullable<ImagePicture['heat']>,
): void {
  for (let y = 0; y < height; y++) {
    const row = Math.min(rows - 1, Math.floor((y / height) * rows))
    for (let x = 0; x < width; x++) {
      const value = values[row * columns + Math.min(columns - 1, Math.floor(x / scale))]!
      const level = highest > lowest ? Math.min(1, Math.max(0, (value - lowest) / (highest - lowest))) : 0
      const alpha = opacity * Math.min(1, level * 2)
      const at = (y * width + x) * 3
      for (const [c, wave] of [level, 1 - Math.abs(2 * level - 1), 1 - level].entries())
        rgb[at + c] = rgb[at + c]! * (1 - alpha) + 255 * wave * alpha
    }
  }
}

function drawOutline({ points }: Outline, scale: number, set: SetPixel): void {
  for (let i = 0; i + 1 < points.length; i++) {
    const [x1, y1] = points[i]!
    const [x2, y2] = points[i + 1]!
    const steps = Math.max(1, Math.ceil(Math.hypot(x2 - x1, y2 - y1) * scale))
    for (let s = 0; s <= steps; s++)
      set(
        Math.round((x1 + ((x2 - x1) * s) / steps) * scale),
        Math.round((y1 + ((y2 - y1) * s) / steps) * scale),
        outlineColour,
      )
  }
}

/** Above the middle of the outline, or below it where the picture ends. */
function labelPlace({ points, label }: Outline, scale: number, columns: number): [number, number] {
  const extent = (axis: 0 | 1) => {
    const values = points.map(point => point[axis] * scale)
    return [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))] as const
  }
  const [left, right] = extent(0)
  const [top, bottom] = extent(1)
  const width = label.length * glyphWidth * textScale
  const x = Math.max(0, Math.min(columns - width, Math.round((left + right - width) / 2)))
  const above = top - glyphHeight * textScale
  return [x, Math.round(above >= 0 ? above : bottom + textScale)]
}

/** Breaks a line at blanks into pieces of at most so many characters. */
function wrapped(line: string, characters: number): string[] {
  const lines: string[] = []
  for (const word of line.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= characters) lines[lines.length - 1] = `${last} ${word}`
    else for (let at = 0; at === 0 || at < word.length; at += characters) lines.push(word.slice(at, at + characters))
  }
  return lines
}

function write(line: string, x: number, y: number, colour: readonly [number, number, number], set: SetPixel): void {
  drawText(line, (gx, gy) => {
    for (let dy = 0; dy < textScale; dy++)
      for (let dx = 0; dx < textScale; dx++) set(x + gx * textScale + dx, y + gy * textScale + dy, colour)
  })
}
