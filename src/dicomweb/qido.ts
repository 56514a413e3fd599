import type { Request, Response } from 'express'
import { QueryProblem, searchInstances, searchSeries, searchStudies } from '../archive/index.js'
import type { DicomJson } from '../dicom/dicomJson.js'
import type { Database } from '../platform/database.js'
import { formOfDatasets, sendDatasets } from './datasets.js'
import { sendProblem } from './problem.js'
import { baseUrl } from './stow.js'

const searches = { studies: searchStudies, series: searchSeries, instances: searchInstances }

/** QIDO-RS, PS3.18 10.6: studies, series or instances, below what the path names. */
export function qido(database: Database, level: keyof typeof searches) {
  return async (req: Request, res: Response): Promise<void> => {
    const form = formOfDatasets(req, res)
    if (!form) return
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
      if (warnings.length > 0) res.set('Warning', warnings.join(', '))
      const base = baseUrl(req)
      const results = page.results.map(result => withAddresses(result, base, level))
      sendDatasets(res, results, form)
    } catch (error) {
      if (!(error instanceof QueryProblem)) throw error
      sendProblem(res, { status: 400, title: 'Bad Request', detail: error.message })
    }
  }
}

/** Retrieve URL, and addresses of bulk data that `includefield=all` brings. */
function withAddresses(result: DicomJson, base: string, level: keyof typeof searches): DicomJson {
  const uid = (tag: string) => String(result[tag]?.Value?.[0] ?? '')
  let url = `${base}/studies/${uid('0020000D')}`
  if (level !== 'studies') url += `/series/${uid('0020000E')}`
  if (level === 'instances') url += `/instances/${uid('00080018')}`
  const bulk = level === 'instances' ? addressed(result, `${url}/bulkdata`) : result
  return { ...bulk, '00081190': { vr: 'UR', Value: [url] } }
}

function addressed(dataset: DicomJson, base: string): DicomJson {
  const text = JSON.stringify(dataset)
  if (!text.includes('"BulkDataURI"')) return dataset
  return JSON.parse(text, (key, value) => (key === 'BulkDataURI' ? `${base}/${value}` : value)) as DicomJson
}
