// A small radiograph as a Part 10 file.

function element(tag, vr, value) {
  let bytes = Buffer.isBuffer(value)
    ? value
    : typeof value === 'number'
      ? Buffer.from([value & 255, value >> 8])
      : Buffer.from(value)
  if (bytes.length % 2) bytes = Buffer.concat([bytes, Buffer.from(vr === 'UI' ? '\0' : ' ')])
  const long = ['OB', 'OW', 'UN'].includes(vr)
  const header = Buffer.alloc(long ? 12 : 8)
  header.writeUInt16LE(Number.parseInt(tag.slice(0, 4), 16), 0)
  header.writeUInt16LE(Number.parseInt(tag.slice(4), 16), 2)
  header.write(vr, 4)
  if (long) header.writeUInt32LE(bytes.length, 8)
  else header.writeUInt16LE(bytes.length, 6)
  return Buffer.concat([header, bytes])
}

/** Image number `n` of an examination; 256 × 256. */
export function priorImage(study, n, date, description) {
  return singleImage(study, `${study}.1.${n}`, { '00080020': ['DA', date], '00081030': ['LO', description] })
}

export function singleImage(study, instance = `${study}.1.1`, more = {}) {
  const e = element
  const dx = '1.2.840.10008.5.1.4.1.1.1.1'
  const meta = Buffer.concat([
    e('00020002', 'UI', dx),
    e('00020003', 'UI', instance),
    e('00020010', 'UI', '1.2.840.10008.1.2.1'),
  ])
  const length = Buffer.alloc(4)
  length.writeUInt32LE(meta.length)
  return Buffer.concat([
    Buffer.alloc(128),
    Buffer.from('DICM'),
    e('00020000', 'UL', length),
    meta,
    e('00080016', 'UI', dx),
    e('00080018', 'UI', instance),
    ...(more['00080020'] ? [e('00080020', ...more['00080020'])] : []),
    e('00080060', 'CS', 'DX'),
    ...(more['00081030'] ? [e('00081030', ...more['00081030'])] : []),
    e('00100020', 'LO', 'BENCH'),
    e('0020000D', 'UI', study),
    e('0020000E', 'UI', `${study}.1`),
    e('00280002', 'US', 1),
    e('00280004', 'CS', 'MONOCHROME2'),
    e('00280010', 'US', 256),
    e('00280011', 'US', 256),
    e('00280100', 'US', 16),
    e('00280101', 'US', 12),
    e('00280102', 'US', 11),
    e('00280103', 'US', 0),
    e('7FE00010', 'OW', Buffer.alloc(256 * 256 * 2, 3)),
  ])
}
