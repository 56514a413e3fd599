import type { DicomJson } from '../dicom/dicomJson.js'
import { textOf } from '../dicom/dicomJson.js'
import { tagOf, vrOf } from '../dicom/dictionary.js'
import { explicitVrLittleEndian, implicitVrLittleEndian, transferSyntaxes } from '../dicom/transferSyntaxes.js'
import { silentLog } from '../platform/log.js'
import type { StoreReception } from './association.js'
import { type Command, commandField, field, isPending } from './command.js'
import { type OpenAssociation, openAssociation, type Peer } from './openAssociation.js'
import { service } from './sopClasses.js'
import { hexStatus } from './storeScu.js'

const native = [explicitVrLittleEndian, implicitVrLittleEndian]
/** Longest a retrieval may be silent, seconds: an archive may have to fetch from tape, or tells nothing before all is sent. */
const retrieveTimeoutSeconds = 600
const maxMatches = 100_000

/** What is to be retrieved: a study, a series or an instance of it. */
export interface Wanted {
  study: string
  series?: string
  instance?: string
}

/** What became of a retrieval. */
export interface Retrieved {
  completed: number
  failed: number
}

/** Searches a PACS by C-FIND and retrieves from it by C-MOVE or C-GET, Study Root (PS3.4 annex C). */
export class QueryScu {
  private opened: Promise<OpenAssociation> | undefined

  constructor(private readonly peer: Peer) {}

  /** @param query matching keys by keyword @param keys what is wanted of the matches, by keyword @throws Error in words, without what was searched for */
  searchStudies(query: Readonly<Record<string, string>>, keys: readonly string[]): Promise<DicomJson[]> {
    return this.find('STUDY', { ...Object.fromEntries(keys.map(key => [key, ''])), ...query })
  }

  /** The instances of a study, asked for series by series, as many PACS answer nothing else (PS3.4 C.4.1.3.1.1). @throws Error in words */
  async searchInstances(study: string): Promise<DicomJson[]> {
    const series = await this.find('SERIES', { StudyInstanceUID: study, SeriesInstanceUID: '' })
    const found: DicomJson[] = []
    for (const entry of series) {
      const uid = textOf(entry, '0020000E')
      if (!uid) continue
      const query = { StudyInstanceUID: study, SeriesInstanceUID: uid, SOPInstanceUID: '', SOPClassUID: '' }
      for (const match of await this.find('IMAGE', query))
        found.push({ ...match, '0020000E': { vr: 'UI', Value: [uid] } }) // not all of them repeat it
    }
    return found
  }

  /** C-MOVE to an application entity, usually ourselves; when it is done all has arrived there. @throws Error in words */
  async move(wanted: Wanted, destination: string): Promise<Retrieved> {
    const peer = { ...this.peer, timeoutSeconds: Math.max(this.peer.timeoutSeconds, retrieveTimeoutSeconds) }
    const proposal = { abstractSyntax: service.studyRootMove, transferSyntaxes: native }
    const opened = await openAssociation(peer, [proposal], { log: silentLog })
    return this.retrieve(opened, service.studyRootMove, wanted, {
      [field.commandField]: commandField.cMoveRequest,
      [field.moveDestination]: destination,
    })
  }

  /** C-GET: the objects come over the same association. @param classes SOP classes that may come @throws Error in words */
  async get(wanted: Wanted, classes: readonly string[], store: StoreReception): Promise<Retrieved> {
    const peer = { ...this.peer, timeoutSeconds: Math.max(this.peer.timeoutSeconds, retrieveTimeoutSeconds) }
    const syntaxes = transferSyntaxes.map(({ uid }) => uid)
    // The first that it has is what an SCP takes: as it comes from the archive, at best.
    const preferred = [explicitVrLittleEndian, ...syntaxes.filter(uid => !native.includes(uid)), implicitVrLittleEndian]
    const storage = classes.slice(0, 127).map(abstractSyntax => ({ abstractSyntax, transferSyntaxes: preferred }))
    const proposals = [{ abstractSyntax: service.studyRootGet, transferSyntaxes: native }, ...storage]
    const roles = storage.map(({ abstractSyntax }) => ({ abstractSyntax, scu: false, scp: true }))
    const opened = await openAssociation(peer, proposals, { log: silentLog, roles, store })
    return this.retrieve(opened, service.studyRootGet, wanted, { [field.commandField]: commandField.cGetRequest })
  }

  async close(): Promise<void> {
    await this.opened?.then(({ association }) => association.release()).catch(() => {})
    this.opened = undefined
  }

  private async find(level: string, query: Readonly<Record<string, string>>): Promise<DicomJson[]> {
    const proposal = { abstractSyntax: service.studyRootFind, transferSyntaxes: native }
    this.opened ??= openAssociation(this.peer, [proposal], { log: silentLog })
    const { association } = await this.opened.catch(error => {
      this.opened = undefined
      throw error
    })
    const [context] = association.contextsOf(service.studyRootFind)
    const matches: DicomJson[] = []
    const command = {
      [field.affectedSopClassUid]: service.studyRootFind,
      [field.commandField]: commandField.cFindRequest,
      [field.priority]: 0,
    }
    for await (const { status, comment, dataSet } of association.ask(context!, command, identifier(level, query))) {
      if (isPending(status)) {
        if (dataSet) matches.push(dataSet)
        if (matches.length > maxMatches) throw new Error('C-FIND has too many matches')
      } else if (status !== 0)
        throw new Error(`C-FIND was answered with ${hexStatus(status)}${comment && `: ${comment}`}`)
    }
    return matches
  }

  private async retrieve(
    { association }: OpenAssociation,
    sopClass: string,
    { study, series, instance }: Wanted,
    command: Command,
  ): Promise<Retrieved> {
    try {
      const [context] = association.contextsOf(sopClass)
      if (!context) throw new Error(`it does not know SOP class ${sopClass}`)
      const level = instance ? 'IMAGE' : series ? 'SERIES' : 'STUDY'
      const query = {
        StudyInstanceUID: study,
        ...(series ? { SeriesInstanceUID: series } : {}),
        ...(instance ? { SOPInstanceUID: instance } : {}),
      }
      const request = { [field.affectedSopClassUid]: sopClass, [field.priority]: 0, ...command }
      const answer = await association.askOnce(context, request, identifier(level, query))
      const count = (element: number) => Number(answer.command[element] ?? 0)
      const completed = count(field.completedSubOperations) + count(field.warningSubOperations)
      const failed = count(field.failedSubOperations)
      if (answer.status !== 0 && completed === 0)
        throw new Error(
          `the retrieval was answered with ${hexStatus(answer.status)}${answer.comment && `: ${answer.comment}`}`,
        )
      return { completed, failed }
    } finally {
      association.release()
    }
  }
}

/** An identifier of C-FIND or C-MOVE; text goes out as UTF-8 where ASCII does not do. */
function identifier(level: string, query: Readonly<Record<string, string>>): DicomJson {
  const dataSet: DicomJson = { '00080052': { vr: 'CS', Value: [level] } }
  for (const [keyword, value] of Object.entries(query)) {
    const tag = tagOf(keyword)
    if (!tag) throw new Error(`no attribute is named ${keyword}`)
    dataSet[tag] = { vr: vrOf(tag) ?? 'LO', ...(value === '' ? {} : { Value: value.split('\\') }) }
  }
  if (Object.values(query).some(value => /[^\x20-\x7e]/.test(value)))
    dataSet['00080005'] = { vr: 'CS', Value: ['ISO_IR 192'] }
  return dataSet
}
