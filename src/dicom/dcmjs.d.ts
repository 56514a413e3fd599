/** The part of dcmjs that Radbridge uses; the package ships no types. */
declare module 'dcmjs' {
  // biome-ignore lint/suspicious/noExplicitAny: values of every VR
  type DcmjsDataSet = Record<string, { vr: string; Value: any[] }>
  const dcmjs: {
    data: {
      DicomMetaDictionary: {
        dictionary: Record<string, { tag: string; vr: string; name: string } | undefined>
        nameMap: Record<string, { tag: string } | undefined>
      }
      /** An independent reader, for tests. */
      DicomMessage: { readFile(bytes: ArrayBuffer): { dict: DcmjsDataSet; meta: DcmjsDataSet } }
    }
  }
  export default dcmjs
}
