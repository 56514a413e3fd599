import { type DicomJson, itemsOf } from './dicomJson.js'

/**
 * The item that says something of one frame: its own functional group's, the shared one's, or, in objects without groups, the data set itself
 * (PS3.3 C.7.6.16).
 * @param frame 0-based
 * @param sequence the macro's, for example `00209113` Plane Position
 */
export function macroOf(header: DicomJson, frame: number, sequence: string): DicomJson {
  const own = itemsOf(header, '52009230')[frame]
  const shared = itemsOf(header, '52009229')[0]
  return (own && itemsOf(own, sequence)[0]) ?? (shared && itemsOf(shared, sequence)[0]) ?? header
}
