/** A coded concept as in PS3.3 8.8: code value, coding scheme designator, code meaning. */
export interface CodedConcept {
  value: string
  scheme: string
  meaning: string
}

/** Designator of the codes that Radbridge had to make, since no standard one was found. Declared in (0008,0110) of each object. */
export const privateScheme = '99RADBRIDGE'

/**
 * Every coded concept that Radbridge writes: scheme, value, meaning as in PS3.16, and where it comes from: a context group (CID), the
 * template that names it (TID), or why it is our own. docs/conformance.md prints it.
 */
const table = {
  // Structure of the report
  imagingMeasurementReport: ['DCM', '126000', 'Imaging Measurement Report', 'CID 7021'],
  language: ['DCM', '121049', 'Language of Content Item and Descendants', 'TID 1204'],
  observerType: ['DCM', '121005', 'Observer Type', 'TID 1002'],
  device: ['DCM', '121007', 'Device', 'CID 270'],
  deviceObserverUid: ['DCM', '121012', 'Device Observer UID', 'TID 1004'],
  deviceObserverName: ['DCM', '121013', 'Device Observer Name', 'TID 1004'],
  deviceObserverManufacturer: ['DCM', '121014', 'Device Observer Manufacturer', 'TID 1004'],
  deviceObserverModel: ['DCM', '121015', 'Device Observer Model Name', 'TID 1004'],
  deviceObserverSerial: ['DCM', '121016', 'Device Observer Serial Number', 'TID 1004'],
  procedureReported: ['DCM', '121058', 'Procedure reported', 'TID 1500'],
  ctUnspecified: ['LN', '25045-6', 'CT unspecified body region', 'CID 100'],
  mriUnspecified: ['LN', '25056-3', 'MRI unspecified body region', 'CID 100'],
  petUnspecified: ['LN', '44136-0', 'PET unspecified body region', 'CID 100'],
  imagingProcedure: ['SCT', '363679005', 'Imaging procedure', 'CID 100'],
  imageLibrary: ['DCM', '111028', 'Image Library', 'TID 1600'],
  imageLibraryGroup: ['DCM', '126200', 'Image Library Group', 'TID 1600'],
  modality: ['DCM', '121139', 'Modality', 'TID 1602'],
  targetRegion: ['DCM', '123014', 'Target Region', 'TID 1602'],
  studyDate: ['DCM', '111060', 'Study Date', 'TID 1602'],
  frameOfReferenceUid: ['DCM', '112227', 'Frame of Reference UID', 'TID 1602'],
  imagingMeasurements: ['DCM', '126010', 'Imaging Measurements', 'TID 1500'],
  derivedMeasurements: ['DCM', '126011', 'Derived Imaging Measurements', 'TID 1500'],
  qualitativeEvaluations: ['UMLS', 'C0034375', 'Qualitative Evaluations', 'TID 1500'],
  algorithmName: ['DCM', '111001', 'Algorithm Name', 'TID 4019'],
  algorithmVersion: ['DCM', '111003', 'Algorithm Version', 'TID 4019'],
  algorithmParameters: ['DCM', '111002', 'Algorithm Parameters', 'TID 4019'],
  artificialIntelligence: ['DCM', '123110', 'Artificial Intelligence', 'CID 7162'],
  processingEquipment: ['DCM', '109102', 'Processing Equipment', 'CID 7005'],
  // Measurement groups
  measurementGroup: ['DCM', '125007', 'Measurement Group', 'TID 1410'],
  trackingIdentifier: ['DCM', '112039', 'Tracking Identifier', 'TID 1410'],
  trackingUid: ['DCM', '112040', 'Tracking Unique Identifier', 'TID 1410'],
  findingCategory: ['SCT', '276214006', 'Finding category', 'TID 1410'],
  finding: ['DCM', '121071', 'Finding', 'TID 1410'],
  findingSite: ['SCT', '363698007', 'Finding Site', 'TID 1419'],
  laterality: ['SCT', '272741003', 'Laterality', 'TID 1419'],
  imageRegion: ['DCM', '111030', 'Image Region', 'TID 1410'],
  referencedSegment: ['DCM', '121191', 'Referenced Segment', 'TID 1411'],
  sourceSeriesForSegmentation: ['DCM', '121232', 'Source series for segmentation', 'TID 1411'],
  sourceOfMeasurement: ['DCM', '121112', 'Source of Measurement', 'CID 7551'],
  measurementMethod: ['SCT', '370129005', 'Measurement Method', 'TID 1419'],
  derivation: ['DCM', '121401', 'Derivation', 'TID 1419'],
  certaintyOfFinding: ['DCM', '111012', 'Certainty of Finding', 'CID 6048'],
  // Time points
  timePoint: ['UMLS', 'C2348792', 'Time Point', 'TID 1502'],
  timePointType: ['DCM', '126072', 'Time Point Type', 'TID 1502'],
  baseline: ['UMLS', 'C1442488', 'Baseline', 'CID 6146'],
  // Evaluations
  processingSummary: ['DCM', '111017', 'CAD Processing and Findings Summary', 'TID 4015'],
  succeededWithoutFindings: ['DCM', '111241', 'All algorithms succeeded; without findings', 'CID 6047'],
  succeededWithFindings: ['DCM', '111242', 'All algorithms succeeded; with findings', 'CID 6047'],
  partlyWithoutFindings: ['DCM', '111243', 'Not all algorithms succeeded; without findings', 'CID 6047'],
  partlyWithFindings: ['DCM', '111244', 'Not all algorithms succeeded; with findings', 'CID 6047'],
  noneSucceeded: ['DCM', '111245', 'No algorithms succeeded; without findings', 'CID 6047'],
  algorithmFailed: ['DCM', '111224', 'Failed', 'CID 6042'],
  algorithmNotAttempted: ['DCM', '111225', 'Not Attempted', 'CID 6042'],
  present: ['SCT', '52101004', 'Present', 'CID 240'],
  absent: ['SCT', '272519000', 'Absent', 'CID 240'],
  undetermined: ['SCT', '373068000', 'Undetermined', 'CID 240'],
  conclusion: ['DCM', '121077', 'Conclusion', 'CID 7002'],
  comment: ['DCM', '121106', 'Comment', 'CID 12101'],
  // Segmentations, maps and the like
  sourceImageForProcessing: ['DCM', '121322', 'Source image for image processing operation', 'CID 7202'],
  segmentation: ['DCM', '113076', 'Segmentation', 'CID 7203'],
  fractionalProbability: ['DCM', '110854', 'Fractional Probabilistic Segmentation', 'CID 7180'],
  quantity: ['SCT', '246205007', 'Quantity', 'CID 9000'],
  visualExplanation: ['DCM', '130401', 'Visual explanation', 'PS3.16 annex D'],
  saliency: ['DCM', '130404', 'Saliency', 'CID 7180'],
  classActivation: ['DCM', '130402', 'Class activation', 'CID 7180'],
  gradCam: ['DCM', '130403', 'Gradient-weighted class activation', 'CID 7180'],
  diagnosticImagingReport: ['LN', '18748-4', 'Diagnostic Imaging Report', 'CID 7000'],
  // Modalities, CID 29
  ct: ['DCM', 'CT', 'Computed Tomography', 'CID 29'],
  cr: ['DCM', 'CR', 'Computed Radiography', 'CID 29'],
  dx: ['DCM', 'DX', 'Digital Radiography', 'CID 29'],
  mr: ['DCM', 'MR', 'Magnetic Resonance', 'CID 29'],
  mg: ['DCM', 'MG', 'Mammography', 'CID 29'],
  us: ['DCM', 'US', 'Ultrasound', 'CID 29'],
  pt: ['DCM', 'PT', 'Positron emission tomography', 'CID 29'],
  nm: ['DCM', 'NM', 'Nuclear Medicine', 'CID 29'],
  xa: ['DCM', 'XA', 'X-Ray Angiography', 'CID 29'],
  rf: ['DCM', 'RF', 'Radiofluoroscopy', 'CID 29'],
  // Regions of the body
  chest: ['SCT', '816094009', 'Chest', 'CID 4031'],
  abdomen: ['SCT', '818981001', 'Abdomen', 'CID 4031'],
  pelvis: ['SCT', '816092008', 'Pelvis', 'CID 4031'],
  head: ['SCT', '69536005', 'Head', 'CID 4031'],
  neck: ['SCT', '45048000', 'Neck', 'CID 4031'],
  brain: ['SCT', '12738006', 'Brain', 'CID 4030'],
  breast: ['SCT', '76752008', 'Breast', 'CID 4031'],
  heart: ['SCT', '80891009', 'Heart', 'CID 4031'],
  spine: ['SCT', '421060004', 'Spine', 'CID 4031'],
  // Findings, sites, values
  nodule: ['SCT', '27925004', 'Nodule', 'CID 6102'],
  lesion: ['SCT', '52988006', 'Lesion', 'CID 7151'],
  morphologicallyAbnormalStructure: ['SCT', '49755003', 'Morphologically Abnormal Structure', 'CID 7150'],
  anatomicalStructure: ['SCT', '91723000', 'Anatomical Structure', 'CID 7150'],
  lung: ['SCT', '39607008', 'Lung', 'CID 7151'],
  right: ['SCT', '24028007', 'Right', 'CID 244'],
  left: ['SCT', '7771000', 'Left', 'CID 244'],
  // Quantities
  longAxis: ['SCT', '103339001', 'Long axis', 'CID 7470'],
  shortAxis: ['SCT', '103340004', 'Short axis', 'CID 7470'],
  diameter: ['SCT', '81827009', 'Diameter', 'CID 7470'],
  area: ['SCT', '42798000', 'Area', 'CID 7471'],
  volume: ['SCT', '118565006', 'Volume', 'CID 7472'],
  attenuation: ['DCM', '112031', 'Attenuation Coefficient', 'CID 7180'],
  standardizedUptake: ['DCM', '126401', 'SUVbw', 'CID 7180'],
  mean: ['SCT', '373098007', 'Mean', 'CID 7464'],
  maximum: ['SCT', '56851009', 'Maximum', 'CID 7464'],
  segmentedVoxels: ['DCM', '126030', 'Sum of segmented voxel method for volume', 'CID 7474'],
  increaseInSize: ['SCT', '15454001', 'Increase in size', 'CID 6134'],
  decreaseInSize: ['SCT', '19776001', 'Decrease in size', 'CID 6134'],
  noChange: ['SCT', '260388006', 'No change', 'CID 3235'],
  // Units
  millimeter: ['UCUM', 'mm', 'mm', 'CID 7460'],
  squareMillimeter: ['UCUM', 'mm2', 'square millimeter', 'CID 7461'],
  cubicMillimeter: ['UCUM', 'mm3', 'cubic millimeter', 'CID 7462'],
  milliliter: ['UCUM', 'ml', 'milliliter', 'UCUM'],
  hounsfield: ['UCUM', "[hnsf'U]", 'Hounsfield unit', 'CID 7181'],
  percent: ['UCUM', '%', 'Percent', 'CID 7181'],
  noUnits: ['UCUM', '1', 'no units', 'CID 7181'],
  day: ['UCUM', 'd', 'day', 'CID 7456'],
  suvBodyWeight: ['UCUM', 'g/ml{SUVbw}', 'Standardized Uptake Value body weight', 'CID 7181'],
  // Languages (RFC 5646)
  englishUs: ['RFC5646', 'en-US', 'English (United States)', 'RFC 5646'],
  german: ['RFC5646', 'de', 'German', 'RFC 5646'],
  french: ['RFC5646', 'fr', 'French', 'RFC 5646'],
  spanish: ['RFC5646', 'es', 'Spanish', 'RFC 5646'],
  japanese: ['RFC5646', 'ja', 'Japanese', 'RFC 5646'],
  chinese: ['RFC5646', 'zh', 'Chinese', 'RFC 5646'],
  // Radbridge's own
  lowAttenuationArea: [privateScheme, 'LAA950', 'Low attenuation area below -950 HU', 'no standard code'],
  voxelFraction: [privateScheme, 'VOXELFRACTION', 'Fraction of segmented voxels', 'no standard code'],
  voxelMean: [privateScheme, 'VOXELMEAN', 'Mean over segmented voxels', 'no standard code'],
  inPlaneExtent: [privateScheme, 'EXTENT', 'Greatest extent of the segmented pixels', 'no standard code'],
  technicalImageQuality: [privateScheme, 'IMGQUALITY', 'Technical image quality', 'no standard code'],
  clippedFraction: [privateScheme, 'CLIPPED', 'Fraction of pixels at the ends of the range', 'no standard code'],
  exposureSpread: [privateScheme, 'EXPSPREAD', 'Spread of the 5th to 95th percentile', 'no standard code'],
  pixelStatistics: [privateScheme, 'PIXELSTAT', 'Statistics of pixel values', 'no standard code'],
  looksInverted: [privateScheme, 'INVERTEDLOOK', 'Image looks inverted', 'no standard code'],
  changeSincePrior: [privateScheme, 'CHANGE', 'Change since prior examination', 'no standard code'],
  newSincePrior: [privateScheme, 'NEW', 'New since prior examination', 'SNOMED’s is for mammograms'],
  resolvedSincePrior: [privateScheme, 'RESOLVED', 'Not found any more', 'no standard code'],
  absoluteChange: [privateScheme, 'CHANGEABS', 'Absolute change since prior examination', 'no standard code'],
  relativeChange: [privateScheme, 'CHANGEREL', 'Relative change since prior examination', 'no standard code'],
  priorStudy: [privateScheme, 'PRIORSTUDY', 'Prior examination compared with', 'no standard code'],
  priorStudyDate: [privateScheme, 'PRIORDATE', 'Date of the prior examination', 'no standard code'],
  doublingTime: [privateScheme, 'DOUBLINGTIME', 'Volume doubling time', 'no standard code'],
  algorithmStatus: [privateScheme, 'ALGSTATUS', 'Status of the algorithm', 'no standard code'],
} as const satisfies Record<string, readonly [scheme: string, value: string, meaning: string, source: string]>

type ConceptName = keyof typeof table

export const concepts = Object.fromEntries(
  Object.entries(table).map(([name, [scheme, value, meaning]]) => [name, { value, scheme, meaning }]),
) as Record<ConceptName, CodedConcept>

/** The table with the source of each code: a context group or template of PS3.16. */
export const conceptTable: readonly { concept: CodedConcept; source: string }[] = Object.values(table).map(
  ([scheme, value, meaning, source]) => ({ concept: { scheme, value, meaning }, source }),
)

/** Two concepts are one if scheme and value agree; meanings are for people (PS3.3 8.8). */
export function sameConcept(a: CodedConcept, b: CodedConcept): boolean {
  return a.value === b.value && a.scheme === b.scheme
}
