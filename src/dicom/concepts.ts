/** A coded concept as in PS3.3 8.8: code value, coding scheme designator, code meaning. */
export interface CodedConcept {
  value: string
  scheme: string
  meaning: string
}

const concept = (value: string, scheme: string, meaning: string): CodedConcept => ({ value, scheme, meaning })
const dcm = (value: string, meaning: string) => concept(value, 'DCM', meaning)
const sct = (value: string, meaning: string) => concept(value, 'SCT', meaning)
const ucum = (value: string, meaning: string) => concept(value, 'UCUM', meaning)

/** Designator of the codes that Radbridge had to make, since no standard one was found. Declared in (0008,0110) of each object. */
export const privateScheme = '99RADBRIDGE'
const own = (value: string, meaning: string) => concept(value, privateScheme, meaning)

/** Every coded concept that Radbridge writes: meanings as in PS3.16 annex D and the context groups named. */
export const concepts = {
  // TID 1500, 1204, 1001, 1004, 1600, 4019
  imagingMeasurementReport: dcm('126000', 'Imaging Measurement Report'),
  language: dcm('121049', 'Language of Content Item and Descendants'),
  englishUs: concept('en-US', 'RFC5646', 'English (United States)'),
  observerType: dcm('121005', 'Observer Type'),
  device: dcm('121007', 'Device'),
  deviceObserverUid: dcm('121012', 'Device Observer UID'),
  deviceObserverName: dcm('121013', 'Device Observer Name'),
  deviceObserverManufacturer: dcm('121014', 'Device Observer Manufacturer'),
  deviceObserverModel: dcm('121015', 'Device Observer Model Name'),
  deviceObserverSerial: dcm('121016', 'Device Observer Serial Number'),
  procedureReported: dcm('121058', 'Procedure reported'),
  ctUnspecified: concept('25045-6', 'LN', 'CT unspecified body region'), // CID 100
  imagingProcedure: sct('363679005', 'Imaging procedure'), // CID 100
  imageLibrary: dcm('111028', 'Image Library'),
  imageLibraryGroup: dcm('126200', 'Image Library Group'),
  modality: dcm('121139', 'Modality'),
  targetRegion: dcm('123014', 'Target Region'),
  chest: sct('816094009', 'Chest'),
  studyDate: dcm('111060', 'Study Date'),
  frameOfReferenceUid: dcm('112227', 'Frame of Reference UID'),
  imagingMeasurements: dcm('126010', 'Imaging Measurements'),
  algorithmName: dcm('111001', 'Algorithm Name'),
  algorithmVersion: dcm('111003', 'Algorithm Version'),
  algorithmParameters: dcm('111002', 'Algorithm Parameters'),
  artificialIntelligence: dcm('123110', 'Artificial Intelligence'), // CID 7162
  measurementGroup: dcm('125007', 'Measurement Group'),
  trackingIdentifier: dcm('112039', 'Tracking Identifier'),
  trackingUid: dcm('112040', 'Tracking Unique Identifier'),
  findingCategory: sct('276214006', 'Finding category'),
  finding: dcm('121071', 'Finding'),
  findingSite: sct('363698007', 'Finding Site'),
  laterality: sct('272741003', 'Laterality'),
  imageRegion: dcm('111030', 'Image Region'),
  referencedSegment: dcm('121191', 'Referenced Segment'),
  sourceSeriesForSegmentation: dcm('121232', 'Source series for segmentation'),
  sourceImageForProcessing: dcm('121322', 'Source image for image processing operation'), // CID 7202
  segmentation: dcm('113076', 'Segmentation'), // CID 7203
  sourceOfMeasurement: dcm('121112', 'Source of Measurement'),
  measurementMethod: sct('370129005', 'Measurement Method'),
  derivation: dcm('121401', 'Derivation'),
  certaintyOfFinding: dcm('111012', 'Certainty of Finding'),
  qualitativeEvaluations: concept('C0034375', 'UMLS', 'Qualitative Evaluations'),
  processingSummary: dcm('111017', 'CAD Processing and Findings Summary'),
  conclusion: dcm('121077', 'Conclusion'),
  // CID 6047
  succeededWithoutFindings: dcm('111241', 'All algorithms succeeded; without findings'),
  succeededWithFindings: dcm('111242', 'All algorithms succeeded; with findings'),
  partlyWithoutFindings: dcm('111243', 'Not all algorithms succeeded; without findings'),
  partlyWithFindings: dcm('111244', 'Not all algorithms succeeded; with findings'),
  // CID 29
  ct: dcm('CT', 'Computed Tomography'),
  cr: dcm('CR', 'Computed Radiography'),
  dx: dcm('DX', 'Digital Radiography'),
  // Findings, sites, values
  nodule: sct('27925004', 'Nodule'),
  morphologicallyAbnormalStructure: sct('49755003', 'Morphologically Abnormal Structure'),
  lung: sct('39607008', 'Lung'),
  right: sct('24028007', 'Right'), // CID 244
  left: sct('7771000', 'Left'),
  present: sct('52101004', 'Present'), // CID 240
  absent: sct('272519000', 'Absent'),
  longAxis: sct('103339001', 'Long axis'), // CID 7470
  shortAxis: sct('103340004', 'Short axis'),
  volume: sct('118565006', 'Volume'), // CID 7472
  attenuation: dcm('112031', 'Attenuation Coefficient'),
  mean: sct('373098007', 'Mean'), // CID 7464
  segmentedVoxels: dcm('126030', 'Sum of segmented voxel volumes'), // CID 7474
  processingEquipment: dcm('109102', 'Processing Equipment'), // CID 7005
  // Units (CID 7181, 7460, 7461, 7462)
  millimeter: ucum('mm', 'millimeter'),
  cubicMillimeter: ucum('mm3', 'cubic millimeter'),
  milliliter: ucum('ml', 'milliliter'),
  hounsfield: ucum("[hnsf'U]", 'Hounsfield unit'),
  percent: ucum('%', 'Percent'),
  // Radbridge's own
  lowAttenuationArea: own('LAA950', 'Low attenuation area below -950 HU'),
  voxelFraction: own('VOXELFRACTION', 'Fraction of segmented voxels'),
  voxelMean: own('VOXELMEAN', 'Mean over segmented voxels'),
  inPlaneExtent: own('EXTENT', 'Greatest extent of the segmented pixels'),
  technicalImageQuality: own('IMGQUALITY', 'Technical image quality'),
  clippedFraction: own('CLIPPED', 'Fraction of pixels at the ends of the range'),
  exposureSpread: own('EXPSPREAD', 'Spread of the 5th to 95th percentile'),
  pixelStatistics: own('PIXELSTAT', 'Statistics of pixel values'),
  looksInverted: own('INVERTEDLOOK', 'Image looks inverted'),
} as const satisfies Record<string, CodedConcept>
