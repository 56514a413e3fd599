import { type CodedConcept, concepts } from './concepts.js'

export const languages = ['en', 'de', 'fr', 'es', 'ja', 'zh'] as const
/** Primary language subtag of RFC 5646. */
export type Language = (typeof languages)[number]

/**
 * Meanings in other languages, at most 64 characters each (VR LO): name of the concept, German, French, Spanish, Japanese, Chinese. PS3.16 allows a
 * translated meaning with an unchanged code where TID 1204 says which language it is in. The translations are Radbridge's; concepts that are not here
 * keep their English meaning.
 */
const table = `
imagingMeasurementReport | Bildgebungs-Messbericht | Compte rendu de mesures d’imagerie | Informe de mediciones de imagen | 画像計測レポート | 影像测量报告
language | Sprache des Inhalts und der Nachkommen | Langue du contenu et des descendants | Idioma del contenido y de sus descendientes | 内容および下位項目の言語 | 内容项及其下级的语言
observerType | Art des Beobachters | Type d’observateur | Tipo de observador | 観察者種別 | 观察者类型
device | Gerät | Appareil | Dispositivo | 装置 | 设备
deviceObserverUid | UID des beobachtenden Geräts | UID de l’appareil observateur | UID del dispositivo observador | 観察装置UID | 观察设备UID
deviceObserverName | Name des beobachtenden Geräts | Nom de l’appareil observateur | Nombre del dispositivo observador | 観察装置名 | 观察设备名称
deviceObserverManufacturer | Hersteller des beobachtenden Geräts | Fabricant de l’appareil observateur | Fabricante del dispositivo observador | 観察装置製造者 | 观察设备制造商
deviceObserverModel | Modellname des beobachtenden Geräts | Modèle de l’appareil observateur | Modelo del dispositivo observador | 観察装置モデル名 | 观察设备型号
deviceObserverSerial | Seriennummer des beobachtenden Geräts | Numéro de série de l’appareil observateur | Número de serie del dispositivo observador | 観察装置シリアル番号 | 观察设备序列号
procedureReported | Berichtete Untersuchung | Examen rapporté | Procedimiento informado | 報告対象検査 | 所报告的检查
ctUnspecified | CT, Körperregion nicht angegeben | TDM, région non précisée | TC, región no especificada | CT 部位指定なし | CT 未指明部位
mriUnspecified | MRT, Körperregion nicht angegeben | IRM, région non précisée | RM, región no especificada | MRI 部位指定なし | MRI 未指明部位
petUnspecified | PET, Körperregion nicht angegeben | TEP, région non précisée | PET, región no especificada | PET 部位指定なし | PET 未指明部位
imagingProcedure | Bildgebendes Verfahren | Examen d’imagerie | Procedimiento de imagen | 画像検査 | 影像检查
imageLibrary | Bildbibliothek | Bibliothèque d’images | Biblioteca de imágenes | 画像ライブラリ | 图像库
imageLibraryGroup | Gruppe der Bildbibliothek | Groupe de la bibliothèque d’images | Grupo de la biblioteca de imágenes | 画像ライブラリグループ | 图像库组
modality | Modalität | Modalité | Modalidad | モダリティ | 成像设备类型
targetRegion | Zielregion | Région cible | Región objetivo | 対象部位 | 目标区域
studyDate | Untersuchungsdatum | Date de l’examen | Fecha del estudio | 検査日 | 检查日期
frameOfReferenceUid | UID des Bezugssystems | UID du référentiel | UID del marco de referencia | 基準座標系UID | 参考坐标系UID
imagingMeasurements | Messungen am Bild | Mesures d’imagerie | Mediciones de imagen | 画像計測 | 影像测量
derivedMeasurements | Abgeleitete Messungen | Mesures dérivées | Mediciones derivadas | 派生計測 | 衍生测量
qualitativeEvaluations | Qualitative Beurteilungen | Évaluations qualitatives | Evaluaciones cualitativas | 定性評価 | 定性评估
algorithmName | Name des Algorithmus | Nom de l’algorithme | Nombre del algoritmo | アルゴリズム名 | 算法名称
algorithmVersion | Version des Algorithmus | Version de l’algorithme | Versión del algoritmo | アルゴリズムバージョン | 算法版本
algorithmParameters | Parameter des Algorithmus | Paramètres de l’algorithme | Parámetros del algoritmo | アルゴリズムパラメータ | 算法参数
measurementGroup | Messgruppe | Groupe de mesures | Grupo de mediciones | 計測グループ | 测量组
trackingIdentifier | Verlaufskennung | Identifiant de suivi | Identificador de seguimiento | 追跡識別子 | 跟踪标识
trackingUid | Eindeutige Verlaufskennung | Identifiant unique de suivi | Identificador único de seguimiento | 追跡固有識別子 | 唯一跟踪标识
findingCategory | Befundkategorie | Catégorie de la constatation | Categoría del hallazgo | 所見カテゴリ | 所见类别
finding | Befund | Constatation | Hallazgo | 所見 | 所见
findingSite | Ort des Befunds | Site de la constatation | Localización del hallazgo | 所見部位 | 所见部位
laterality | Seitenangabe | Latéralité | Lateralidad | 左右 | 侧别
imageRegion | Bildregion | Région de l’image | Región de la imagen | 画像領域 | 图像区域
referencedSegment | Referenziertes Segment | Segment référencé | Segmento referenciado | 参照セグメント | 引用的分割
sourceSeriesForSegmentation | Quellserie der Segmentierung | Série source de la segmentation | Serie de origen de la segmentación | セグメンテーション元シリーズ | 分割的源序列
sourceOfMeasurement | Quelle der Messung | Source de la mesure | Origen de la medición | 計測元 | 测量来源
measurementMethod | Messmethode | Méthode de mesure | Método de medición | 計測方法 | 测量方法
derivation | Ableitung | Dérivation | Derivación | 導出 | 推导
certaintyOfFinding | Sicherheit des Befunds | Certitude de la constatation | Certeza del hallazgo | 所見の確信度 | 所见的确定性
timePoint | Zeitpunkt | Point temporel | Punto temporal | 時点 | 时间点
processingSummary | Zusammenfassung von CAD-Verarbeitung und Befunden | Résumé du traitement CAO et des constatations | Resumen del procesamiento CAD y los hallazgos | CAD処理および所見の要約 | CAD处理与所见摘要
succeededWithoutFindings | Alle Algorithmen erfolgreich; ohne Befunde | Tous les algorithmes ont réussi ; sans constatation | Todos los algoritmos finalizaron; sin hallazgos | 全アルゴリズム成功、所見なし | 所有算法成功；无所见
succeededWithFindings | Alle Algorithmen erfolgreich; mit Befunden | Tous les algorithmes ont réussi ; avec constatations | Todos los algoritmos finalizaron; con hallazgos | 全アルゴリズム成功、所見あり | 所有算法成功；有所见
partlyWithoutFindings | Nicht alle Algorithmen erfolgreich; ohne Befunde | Échec de certains algorithmes ; sans constatation | No todos los algoritmos finalizaron; sin hallazgos | 一部アルゴリズム失敗、所見なし | 部分算法未成功；无所见
partlyWithFindings | Nicht alle Algorithmen erfolgreich; mit Befunden | Échec de certains algorithmes ; avec constatations | No todos los algoritmos finalizaron; con hallazgos | 一部アルゴリズム失敗、所見あり | 部分算法未成功；有所见
noneSucceeded | Kein Algorithmus erfolgreich; ohne Befunde | Aucun algorithme n’a réussi ; sans constatation | Ningún algoritmo finalizó; sin hallazgos | 全アルゴリズム失敗、所見なし | 无算法成功；无所见
algorithmFailed | Fehlgeschlagen | Échec | Fallido | 失敗 | 失败
algorithmNotAttempted | Nicht versucht | Non tenté | No intentado | 未実施 | 未尝试
present | Vorhanden | Présent | Presente | あり | 存在
absent | Nicht vorhanden | Absent | Ausente | なし | 不存在
undetermined | Unbestimmt | Indéterminé | Indeterminado | 未確定 | 未确定
conclusion | Schlussfolgerung | Conclusion | Conclusión | 結論 | 结论
comment | Kommentar | Commentaire | Comentario | コメント | 备注
ct | Computertomographie | Tomodensitométrie | Tomografía computarizada | コンピュータ断層撮影 | 计算机断层扫描
cr | Computerradiographie | Radiographie numérisée | Radiografía computarizada | コンピュータラジオグラフィ | 计算机X线摄影
dx | Digitale Radiographie | Radiographie numérique | Radiografía digital | デジタルラジオグラフィ | 数字X线摄影
mr | Magnetresonanz | Résonance magnétique | Resonancia magnética | 磁気共鳴 | 磁共振
mg | Mammographie | Mammographie | Mamografía | マンモグラフィ | 乳腺X线摄影
us | Ultraschall | Échographie | Ecografía | 超音波 | 超声
pt | Positronen-Emissions-Tomographie | Tomographie par émission de positons | Tomografía por emisión de positrones | 陽電子放出断層撮影 | 正电子发射断层扫描
nm | Nuklearmedizin | Médecine nucléaire | Medicina nuclear | 核医学 | 核医学
chest | Thorax | Thorax | Tórax | 胸部 | 胸部
abdomen | Abdomen | Abdomen | Abdomen | 腹部 | 腹部
pelvis | Becken | Bassin | Pelvis | 骨盤 | 骨盆
head | Kopf | Tête | Cabeza | 頭部 | 头部
neck | Hals | Cou | Cuello | 頸部 | 颈部
brain | Gehirn | Cerveau | Cerebro | 脳 | 脑
breast | Brust | Sein | Mama | 乳房 | 乳房
heart | Herz | Cœur | Corazón | 心臓 | 心脏
spine | Wirbelsäule | Rachis | Columna vertebral | 脊椎 | 脊柱
nodule | Rundherd | Nodule | Nódulo | 結節 | 结节
lesion | Läsion | Lésion | Lesión | 病変 | 病变
morphologicallyAbnormalStructure | Morphologisch veränderte Struktur | Structure morphologiquement anormale | Estructura morfológicamente anormal | 形態異常構造 | 形态异常结构
anatomicalStructure | Anatomische Struktur | Structure anatomique | Estructura anatómica | 解剖学的構造 | 解剖结构
lung | Lunge | Poumon | Pulmón | 肺 | 肺
right | Rechts | Droit | Derecho | 右 | 右
left | Links | Gauche | Izquierdo | 左 | 左
longAxis | Lange Achse | Grand axe | Eje mayor | 長径 | 长轴
shortAxis | Kurze Achse | Petit axe | Eje menor | 短径 | 短轴
diameter | Durchmesser | Diamètre | Diámetro | 直径 | 直径
area | Fläche | Surface | Área | 面積 | 面积
volume | Volumen | Volume | Volumen | 体積 | 体积
attenuation | Schwächungskoeffizient | Coefficient d’atténuation | Coeficiente de atenuación | 減弱係数 | 衰减系数
mean | Mittelwert | Moyenne | Media | 平均 | 平均值
maximum | Maximum | Maximum | Máximo | 最大 | 最大值
segmentedVoxels | Summe der segmentierten Voxel | Somme des voxels segmentés | Suma de los vóxeles segmentados | 分割ボクセルの総和 | 分割体素求和
increaseInSize | Größenzunahme | Augmentation de taille | Aumento de tamaño | サイズ増大 | 增大
decreaseInSize | Größenabnahme | Diminution de taille | Disminución de tamaño | サイズ縮小 | 缩小
noChange | Unverändert | Sans changement | Sin cambios | 変化なし | 无变化
millimeter | Millimeter | millimètre | milímetro | ミリメートル | 毫米
cubicMillimeter | Kubikmillimeter | millimètre cube | milímetro cúbico | 立方ミリメートル | 立方毫米
milliliter | Milliliter | millilitre | mililitro | ミリリットル | 毫升
hounsfield | Hounsfield-Einheit | unité Hounsfield | unidad Hounsfield | ハウンスフィールド単位 | 亨氏单位
percent | Prozent | pour cent | por ciento | パーセント | 百分比
day | Tag | jour | día | 日 | 天
lowAttenuationArea | Anteil unter -950 HE | Zone de faible atténuation sous -950 UH | Área de baja atenuación bajo -950 UH | 低吸収領域（-950 HU未満） | 低衰减区（低于-950 HU）
changeSincePrior | Veränderung zur Voruntersuchung | Évolution depuis l’examen antérieur | Cambio desde el examen previo | 前回検査からの変化 | 较前次检查的变化
newSincePrior | Neu seit der Voruntersuchung | Nouveau depuis l’examen antérieur | Nuevo desde el examen previo | 前回検査以降新規 | 较前次检查新发
resolvedSincePrior | Nicht mehr nachweisbar | N’est plus retrouvé | Ya no se encuentra | 消失 | 已消失
absoluteChange | Absolute Veränderung zur Voruntersuchung | Variation absolue depuis l’examen antérieur | Cambio absoluto desde el examen previo | 前回検査からの絶対変化 | 较前次检查的绝对变化
relativeChange | Relative Veränderung zur Voruntersuchung | Variation relative depuis l’examen antérieur | Cambio relativo desde el examen previo | 前回検査からの相対変化 | 较前次检查的相对变化
doublingTime | Volumenverdopplungszeit | Temps de doublement du volume | Tiempo de duplicación del volumen | 体積倍加時間 | 体积倍增时间
`

type Translated = Exclude<Language, 'en'>

const meanings = new Map(
  table
    .trim()
    .split('\n')
    .map(line => {
      const [name, de, fr, es, ja, zh] = line.split(' | ') as [
        keyof typeof concepts,
        string,
        string,
        string,
        string,
        string,
      ]
      const concept = concepts[name]
      if (!concept || zh === undefined) throw new Error(`translations: ${line}`)
      return [
        `${concept.scheme} ${concept.value}`,
        { de, fr, es, ja, zh } satisfies Record<Translated, string>,
      ] as const
    }),
)

/** The concept with its meaning in the language; unchanged if there is no translation. */
export function translated(concept: CodedConcept, language: Language): CodedConcept {
  if (language === 'en') return concept
  const meaning = meanings.get(`${concept.scheme} ${concept.value}`)?.[language]
  return meaning ? { ...concept, meaning } : concept
}
