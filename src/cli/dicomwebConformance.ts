/** DICOMweb by transaction, and the test that shows it: `file: name`. A test looks for each of them. */
export const dicomwebRows: readonly (readonly [transaction: string, supported: string, shownBy: string])[] = [
  ['STOW-RS, Part 10', 'multipart or single part; 200, 202, 409 and all reasons of 3.6', 'test/dicomweb/stow.test.ts'],
  [
    'STOW-RS, metadata and bulk data',
    '`application/dicom+json` or `+xml`; bulk data as octets, compressed frames as image types, one part a frame',
    'test/dicomweb/stowMetadata.test.ts: JSON metadata with pixel data as octets becomes an instance',
  ],
  [
    'STOW-RS, Content-Encoding',
    'gzip, deflate; limits count what comes out',
    'test/dicomweb/stowMetadata.test.ts: what expands beyond the limit is refused, and what is cut short as well',
  ],
  [
    'STOW-RS, answers',
    '`application/dicom+json`, `application/dicom+xml`',
    'test/dicomweb/stowMetadata.test.ts: XML metadata, and an answer in XML',
  ],
  [
    'QIDO-RS',
    'all five resources; keywords or tags, wildcards, UID lists, ranges, `includefield`, `limit`, `offset`; at most 1000 results, then Warning 299',
    'test/dicomweb/stow.test.ts',
  ],
  [
    'QIDO-RS, fuzzymatching',
    'of names: each word begins a component, in any order, whatever its case and accents',
    'test/dicomweb/wado.test.ts: fuzzy matching finds names by the beginnings of their words, whatever their order, case and accents',
  ],
  [
    'QIDO-RS, answers',
    '`application/dicom+json`; multipart of `application/dicom+xml`',
    'test/dicomweb/wado.test.ts: search results in XML, and 204 for none',
  ],
  [
    'WADO-RS, transfer syntaxes',
    'as stored (`*`, or its own); Explicit VR Little Endian, decoded on the way (default); 406 for others. Of several instances those that cannot be decoded go out as stored, and say so',
    'test/dicomweb/wado.test.ts: a compressed study comes decoded by default, and as it is stored on demand',
  ],
  [
    'WADO-RS, compression',
    'without loss on the way: RLE, JPEG-LS, JPEG 2000, HTJ2K, of samples of 8 and 16 bits. Of several instances those that cannot be compressed go out as stored, and say so',
    'test/dicomweb/wado.test.ts: a study comes compressed without loss, where that is asked for; what has no pixels as it is stored',
  ],
  ['WADO-RS, ZIP', '`application/zip` of studies, series and instances', 'test/dicomweb/wado.test.ts: a study as ZIP'],
  [
    'WADO-RS, conditional',
    'ETag and If-None-Match of instances, metadata and bulk data',
    'test/dicomweb/wado.test.ts: an entity tag saves what has not changed, until something is added',
  ],
  ['WADO-RS, ranges', 'one range of a single instance', 'test/dicomweb/wado.test.ts: a part of an instance'],
  [
    'WADO-RS, metadata',
    'from the index: JSON; multipart of XML',
    'test/dicomweb/wado.test.ts: metadata in XML, with the same content as in JSON',
  ],
  [
    'WADO-RS, bulk data',
    'Pixel Data; every other binary value of more than 4 KiB, also within sequences',
    'test/dicomweb/wado.test.ts: long binary values stand in the metadata by address, also within sequences, and come from there',
  ],
  [
    'WADO-RS, frames',
    'lists of frames; decoded octets, the code stream by its media type, or compressed without loss as `image/jls`, `image/jp2`, `image/jphc`, `image/dicom-rle`',
    'test/dicomweb/wadoFrames.test.ts: frames of a multi-frame image are those that were asked for, in the order of the list',
  ],
  [
    'WADO-RS, rendered',
    'JPEG, PNG of 8 bits; `viewport` (width and height), `window` (linear, linear-exact, sigmoid), `quality` (95 is the best), our own `preset` (number or explanation of a window of the image); overlays are drawn. JPEG of very small images is enlarged',
    'test/dicomweb/rendered.test.ts: windows of the image by number and explanation, and functions other than linear',
  ],
  [
    'WADO-RS, rendered studies and series',
    'the first frame of each image, each in a part',
    'test/dicomweb/rendered.test.ts: a series as pictures, one in each part',
  ],
  ['WADO-RS, thumbnails', 'of a study or series the image in the middle', 'test/dicomweb/rendered.test.ts'],
  [
    'UPS-RS',
    'create, search, retrieve, update, claim, complete, cancel, subscribe (also to all, and by a filter of top-level attributes), event channels by WebSocket; answers in JSON and XML',
    'test/dicomweb/ups.test.ts: is created, found, claimed, worked on and completed; those who subscribe are told',
  ],
  [
    'UPS-RS, analyses',
    'each analysis is a workitem that Radbridge performs',
    'test/dicomweb/ups.test.ts: an analysis is a workitem: watched from its beginning to its results, and nobody else can claim it',
  ],
  [
    'Capabilities',
    'OPTIONS of a resource or of the service: WADL, JSON',
    'test/dicomweb/wado.test.ts: OPTIONS of the service describes its resources',
  ],
  [
    'Other origins (CORS)',
    '`http.corsOrigins`',
    'test/e2e/dicomwebClient.test.ts: dicomweb-client stores, searches and retrieves, from a page of another origin',
  ],
  [
    'Byte for byte',
    'STOW-RS to WADO-RS, C-STORE to WADO-RS and to C-MOVE',
    'test/e2e/roundTrip.test.ts: what was stored is what is returned, byte for byte: STOW-RS to WADO-RS, C-STORE to WADO-RS, C-STORE to C-MOVE',
  ],
]
