import type { Findings } from '../analysis/findings.js'
import { concepts as c } from '../dicom/concepts.js'
import { type DicomJson, textOf } from '../dicom/dicomJson.js'
import { sopClass } from '../dicom/sopClasses.js'
import { deriveUid } from '../dicom/uid.js'
import { codeSequence } from './contentItem.js'
import type { ResultContext } from './resultContext.js'
import {
  identityOf,
  madeBy,
  patientAndStudy,
  type ResultObject,
  sequence,
  sopReference,
  written,
} from './resultObject.js'
import { plainDate, summaryLines } from './resultText.js'

/**
 * Encapsulated PDF (PS3.3 A.45.1) with the findings as a page to read, for archives whose viewers show nothing else. It names no patient: the
 * header does. Text outside of Latin-1 cannot be set in the fonts that every reader has, and is shown as question marks.
 */
export async function encapsulatedPdf(findings: Findings, context: ResultContext): Promise<ResultObject> {
  const { header } = context.sources[0]!
  const { studyInstanceUid, revision, route, arm } = context
  const sopInstanceUid = deriveUid('pdf', ...identityOf(findings, context))
  const seriesInstanceUid = deriveUid('pdf series', studyInstanceUid, route, arm)
  const pdf = await draw(findings, context, textOf(header, '00080020'))
  const padded = new Uint8Array(pdf.length + (pdf.length % 2))
  padded.set(pdf)
  const dataset: DicomJson = {
    ...patientAndStudy(header),
    ...madeBy(findings, context),
    '0008002A': { vr: 'DT' }, // Acquisition DateTime: of a document it is not known
    '00080016': { vr: 'UI', Value: [sopClass.encapsulatedPdf] },
    '00080018': { vr: 'UI', Value: [sopInstanceUid] },
    '00080060': { vr: 'CS', Value: ['DOC'] },
    '00080064': { vr: 'CS', Value: ['WSD'] },
    '0020000D': { vr: 'UI', Value: [studyInstanceUid] },
    '0020000E': { vr: 'UI', Value: [seriesInstanceUid] },
    '00200011': { vr: 'IS', Value: ['9007'] },
    '00200013': { vr: 'IS', Value: [String(revision)] },
    '00280301': { vr: 'CS', Value: ['NO'] },
    '0040A043': codeSequence(c.diagnosticImagingReport),
    '0040A493': { vr: 'CS', Value: ['UNVERIFIED'] },
    '00420010': { vr: 'ST', Value: ['AI result, not verified'] },
    '00420012': { vr: 'LO', Value: ['application/pdf'] },
    '00420013': sequence(...firstSources(context).map(sopReference)),
    '00420015': { vr: 'UL', Value: [pdf.length] },
  }
  return written(dataset, { '00420011': { vr: 'OB', Value: [padded.buffer] } })
}

/** One image of each series that was analysed: a document of hundreds of references helps nobody. */
function firstSources({ sources }: ResultContext) {
  const bySeries = new Map(sources.map(source => [source.seriesInstanceUid, source]))
  return [...bySeries.values()]
}

async function draw(findings: Findings, context: ResultContext, studyDate: string | undefined): Promise<Buffer> {
  const { default: PDFDocument } = await import('pdfkit') // for those who want PDF
  const document = new PDFDocument({
    size: 'A4',
    margin: 56,
    info: {
      Title: 'AI result, not verified',
      Producer: 'Radbridge',
      Creator: 'Radbridge',
      CreationDate: context.analyzedAt,
    },
  })
  const chunks: Buffer[] = []
  const done = new Promise<Buffer>((resolve, reject) => {
    document.on('data', chunk => chunks.push(chunk))
    document.on('end', () => resolve(Buffer.concat(chunks)))
    document.on('error', reject)
  })
  document.font('Helvetica-Bold').fontSize(16).text('AI result, not verified')
  document.font('Helvetica').fontSize(10)
  document
    .moveDown(0.5)
    .text(`Examination of ${plainDate(studyDate)}. Preliminary; to be read together with the images.`)
  for (const { heading, lines } of summaryLines(findings)) {
    document.moveDown().font('Helvetica-Bold').text(latin(heading)).font('Helvetica')
    for (const line of lines) document.text(latin(line), { indent: 8 })
  }
  document.end()
  return done
}

function latin(text: string): string {
  return text
    .replaceAll('−', '-')
    .replaceAll(/[’‘]/g, "'")
    .replaceAll(/[^\x00-\xff]/g, '?')
}
