import type { Request, Response } from 'express'
import { QueryProblem, searchInstances, searchSeries, searchStudies } from '../archive/index.js'
import type { DicomJson } from '../dicom/dicomJson.js'
import type { Database } from '../platform/database.js'
import { accepts, parseAccept } from './mediaType.js'
import { sendProblem } from './problem.js'
import { baseUrl } from './stow.js'

const searches = { studies: searchStudies, series: searchSeries, instances: searchInstances }

/** QIDO-RS, PS3.18 10.6: studies, series or instances, below what the path names. */
export function qido(database: Database, level: keyof typeof searches) {
  return async (req: Request, res: Response): Promise<void> => {
    if (!['application/dicom+json', 'application/json'].some(type => accepts(parseAccept(req.headers.accept), type))) {
      return sendProblem(res, {
        status: 406,
        title: 'Not Acceptable',
        detail: 'results are available as application/dicom+json',
      })
    }
    try {
      const parameters = [...new URLSearchParams(req.url.split('?')[1] ?? '')]
      const { study, series } = req.params as { study?: string; series?: string }
      const page = await searches[level](database, {
        parameters,
        ...(study ? { study } : {}),
        ...(series ? { series } : {}),
      })
      const warnings: string[] = []
      if (page.truncated) warnings.push('299 radbridge "There are additional results that can be requested"')
      if (parameters.some(([name, value]) => name === 'fuzzymatching' && value === 'true')) {
        warnings.push(
          '299 radbridge "The fuzzymatching parameter is not supported. Only literal matching has been performed."',
        )
      }
      if (warnings.length > 0) res.set('Warning', warnings.join(', '))
      const base = baseUrl(req)
      res
        .type('application/dicom+json')
        .send(JSON.stringify(page.results.map(result => withRetrieveUrl(result, base, level))))
    } catch (error) {
      if (!(error instanceof QueryProblem)) throw error
      sendProblem(res, { status: 400, title: 'Bad Request', detail: error.message })
    }
  }
}

function withRetrieveUrl(result: DicomJson, base: string, level: keyof typeof searches): DicomJson {
  const uid = (tag: string) => String(result[tag]?.Value?.[0] ?? '')
  let url = `${base}/studies/${uid('0020000D')}`
  if (level !== 'studies') url += `/series/${uid('0020000E')}`
  if (level === 'instances') url += `/instances/${uid('00080018')}`
  return { ...result, '00081190': { vr: 'UR', Value: [url] } }
}
