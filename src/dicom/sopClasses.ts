/** SOP Class UIDs of PS3.4 B.5 that Radbridge treats by name. */
export const sopClass = {
  computedRadiography: '1.2.840.10008.5.1.4.1.1.1',
  digitalXRay: '1.2.840.10008.5.1.4.1.1.1.1',
  ct: '1.2.840.10008.5.1.4.1.1.2',
  enhancedCt: '1.2.840.10008.5.1.4.1.1.2.1',
  comprehensiveSr: '1.2.840.10008.5.1.4.1.1.88.33',
  comprehensive3dSr: '1.2.840.10008.5.1.4.1.1.88.34',
  secondaryCapture: '1.2.840.10008.5.1.4.1.1.7',
  segmentation: '1.2.840.10008.5.1.4.1.1.66.4',
  labelMapSegmentation: '1.2.840.10008.5.1.4.1.1.66.7',
  parametricMap: '1.2.840.10008.5.1.4.1.1.30',
  grayscalePresentationState: '1.2.840.10008.5.1.4.1.1.11.1',
  colourPresentationState: '1.2.840.10008.5.1.4.1.1.11.2',
  encapsulatedPdf: '1.2.840.10008.5.1.4.1.1.104.1',
} as const
