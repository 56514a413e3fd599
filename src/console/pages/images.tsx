import { type ReactNode, useMemo, useState } from 'react'
import { Button } from 'react-aria-components'
import { call, useAction, useApi } from '../api'
import { Badge, Choice, May, Notice, Show } from '../parts'
import { unitName, useWords } from '../text'

interface Series {
  seriesInstanceUid: string
  modality: string | null
  description: string | null
  isResult: boolean
  instances: { sopInstanceUid: string; frames: number; rows: number; columns: number; number: string | null }[]
}

interface Concept {
  meaning: string
}

interface Finding {
  trackingIdentifier: string
  trackingUid: string
  type: Concept
  site?: Concept
  laterality?: Concept
  regions: { sopInstanceUid: string; frame?: number; points: [number, number][] }[]
  measurements: { quantity: Concept; value: number; unit: { value: string } }[]
  evaluations: { name: Concept; value: Concept }[]
  probability?: number
}

interface Findings {
  status: string
  reason?: string
  conclusion?: string
  algorithm: { name: string; version: string; manufacturer: string }
  provider: string
  items: Finding[]
  comparison?: {
    prior: { studyDate?: string }
    lesions: { trackingUid: string; trackingIdentifier: string; change: string }[]
  }
}

interface Picture {
  series: Series
  sopInstanceUid: string
  frame: number
  rows: number
  columns: number
}

const windows = [
  ['', 'windowOwn'],
  ['40,400,linear', 'mediastinum'],
  ['-600,1500,linear', 'lung'],
  ['400,1800,linear', 'bone'],
] as const

export function ImagesAndFindings({ uid }: { uid: string }): ReactNode {
  const images = useApi<Series[]>(`/studies/${uid}/images`)
  const findings = useApi<Findings>(`/studies/${uid}/findings`)
  return (
    <Show of={images}>
      {series => <Viewer uid={uid} series={series} findings={findings.data} problem={findings.problem} />}
    </Show>
  )
}

function Viewer({
  uid,
  series,
  findings,
  problem,
}: {
  uid: string
  series: Series[]
  findings: Findings | undefined
  problem: string | undefined
}): ReactNode {
  const { t } = useWords()
  const [at, setAt] = useState<{ series: number; index: number } | undefined>()
  const [chosen, setChosen] = useState<string | undefined>()
  const [level, setLevel] = useState('')
  const pictures = useMemo(
    () =>
      series.map(one =>
        one.instances.flatMap(instance =>
          Array.from({ length: instance.frames }, (_, frame) => ({ ...instance, series: one, frame: frame + 1 })),
        ),
      ),
    [series],
  )
  const placeOf = ({ sopInstanceUid, frame = 1 }: { sopInstanceUid: string; frame?: number }) => {
    for (const [s, list] of pictures.entries()) {
      const index = list.findIndex(one => one.sopInstanceUid === sopInstanceUid && one.frame === frame)
      if (index >= 0) return { series: s, index }
    }
    return undefined
  }
  const firstRegion = findings?.items.flatMap(({ regions }) => regions)[0]
  const start = (firstRegion && placeOf(firstRegion)) ?? {
    series: 0,
    index: Math.floor((pictures[0]?.length ?? 0) / 2),
  }
  const now = at ?? start
  const list = pictures[now.series] ?? []
  const picture = list[now.index]
  const step = (by: number) =>
    setAt({ series: now.series, index: Math.min(list.length - 1, Math.max(0, now.index + by)) })
  return (
    <div className="two">
      <section>
        {!picture ? (
          <p className="soft">{t('noImages')}</p>
        ) : (
          <>
            <div className="row end">
              <Choice
                label={t('series')}
                value={String(now.series)}
                onChange={value => setAt({ series: Number(value), index: 0 })}
                options={series.map((one, i) => [
                  String(i),
                  `${one.modality ?? ''} ${one.description ?? ''} (${one.instances.length})`,
                ])}
              />
              <Choice
                label={t('window')}
                value={level}
                onChange={setLevel}
                options={windows.map(([value, name]) => [value, name === 'windowOwn' ? t(name) : name])}
              />
            </div>
            <Drawn picture={picture} uid={uid} level={level} findings={findings} chosen={chosen} />
            <div className="row">
              <Button aria-label={t('previous')} onPress={() => step(-1)} isDisabled={now.index === 0}>
                ←
              </Button>
              <input
                type="range"
                min={0}
                max={list.length - 1}
                value={now.index}
                aria-label={t('image', { number: now.index + 1, count: list.length })}
                onChange={event => setAt({ series: now.series, index: Number(event.target.value) })}
              />
              <Button aria-label={t('following')} onPress={() => step(1)} isDisabled={now.index === list.length - 1}>
                →
              </Button>
              <span className="soft small">{t('image', { number: now.index + 1, count: list.length })}</span>
            </div>
          </>
        )}
      </section>
      <section>
        {problem && <p className="soft">{problem}</p>}
        {findings && (
          <FindingsList
            uid={uid}
            findings={findings}
            chosen={chosen}
            onShow={finding => {
              setChosen(finding.trackingUid)
              const region = finding.regions[0]
              const place = region && placeOf(region)
              if (place) setAt(place)
            }}
          />
        )}
      </section>
    </div>
  )
}

function Drawn({
  picture: { series, sopInstanceUid, frame, rows, columns },
  uid,
  level,
  findings,
  chosen,
}: {
  picture: Picture
  uid: string
  level: string
  findings: Findings | undefined
  chosen: string | undefined
}): ReactNode {
  const { t } = useWords()
  const base = `dicom-web/studies/${uid}/series/${series.seriesInstanceUid}/instances/${sopInstanceUid}/frames/${frame}/rendered`
  const outlines = (findings?.items ?? []).flatMap(finding =>
    finding.regions
      .filter(region => region.sopInstanceUid === sopInstanceUid && (region.frame ?? 1) === frame)
      .map(region => ({ finding, points: region.points })),
  )
  return (
    <div className="image">
      <img
        src={level && !series.isResult ? `${base}?window=${level}` : base}
        alt={[series.modality, ...outlines.map(({ finding }) => finding.trackingIdentifier)].join(' ')}
      />
      <svg viewBox={`0 0 ${columns} ${rows}`} aria-label={t('findings')} role="img">
        {outlines.map(({ finding, points }) => (
          <g key={finding.trackingUid}>
            <polygon
              className={finding.trackingUid === chosen ? 'chosen' : ''}
              points={points.map(point => point.join(',')).join(' ')}
            />
            <text x={Math.max(...points.map(([x]) => x)) + 4} y={Math.min(...points.map(([, y]) => y))}>
              {finding.trackingIdentifier}
            </text>
          </g>
        ))}
      </svg>
    </div>
  )
}

function FindingsList({
  uid,
  findings,
  chosen,
  onShow,
}: {
  uid: string
  findings: Findings
  chosen: string | undefined
  onShow(finding: Finding): void
}): ReactNode {
  const { t, number } = useWords()
  const { name, version, manufacturer } = findings.algorithm
  const changeOf = (tracking: string) => findings.comparison?.lesions.find(one => one.trackingUid === tracking)?.change
  return (
    <>
      <Notice kind="warn">{t('verified')}</Notice>
      <p className="small">
        <Badge of={findings.status} /> {name} {version}, {manufacturer}
      </p>
      {findings.reason && <p>{findings.reason}</p>}
      {findings.conclusion && <p>{findings.conclusion}</p>}
      {findings.items.length === 0 && <p className="soft">{t('noFindings')}</p>}
      {findings.items.map(finding => (
        <article
          key={finding.trackingUid}
          className="card"
          aria-current={finding.trackingUid === chosen ? 'true' : undefined}
        >
          <div className="row spread">
            <h3>{finding.trackingIdentifier}</h3>
            {finding.regions.length > 0 && <Button onPress={() => onShow(finding)}>{t('showOn')}</Button>}
          </div>
          <p>
            {[finding.type, finding.laterality, finding.site]
              .map(concept => concept?.meaning)
              .filter(Boolean)
              .join(', ')}
            {finding.probability !== undefined && ` · ${number(finding.probability * 100)} %`}{' '}
            {changeOf(finding.trackingUid) && <Badge of={changeOf(finding.trackingUid)!} kind="info" />}
          </p>
          <ul className="small">
            {finding.measurements.map(({ quantity, value, unit }) => (
              <li key={quantity.meaning}>
                {quantity.meaning}: {number(value, 1)} {unitName(unit.value)}
              </li>
            ))}
            {finding.evaluations.map(({ name: evaluation, value }) => (
              <li key={evaluation.meaning}>
                {evaluation.meaning}: {value.meaning}
              </li>
            ))}
          </ul>
          <May permission="findings:judge">
            <Judge uid={uid} trackingUid={finding.trackingUid} />
          </May>
        </article>
      ))}
    </>
  )
}

function Judge({ uid, trackingUid }: { uid: string; trackingUid: string }): ReactNode {
  const { t } = useWords()
  const { busy, problem, run } = useAction()
  const [given, setGiven] = useState<string | undefined>()
  const give = (verdict: 'true-positive' | 'false-positive', words: string) =>
    run(async () => {
      await call('POST', `/studies/${uid}/verdicts`, { body: { trackingUid, verdict } })
      setGiven(words)
    })
  return (
    <fieldset disabled={busy}>
      <legend className="small soft">{t('judge')}</legend>
      <div className="row">
        <Button onPress={() => give('true-positive', t('truePositive'))}>{t('truePositive')}</Button>
        <Button onPress={() => give('false-positive', t('falsePositive'))}>{t('falsePositive')}</Button>
        <span role="status" className="small">
          {given && t('judged', { verdict: given })}
        </span>
      </div>
      {problem && <Notice kind="bad">{problem}</Notice>}
    </fieldset>
  )
}
