/** The part of dcmjs that Radbridge uses; the package ships no types. */
declare module 'dcmjs' {
  interface DcmjsElement {
    vr: string
    Value: unknown[]
  }
  class DicomDict {
    constructor(meta: Record<string, DcmjsElement>)
    dict: Record<string, DcmjsElement>
    write(options?: object): ArrayBuffer
  }
  const dcmjs: {
    data: {
      DicomMetaDictionary: {
        dictionary: Record<string, { tag: string; vr: string; name: string } | undefined>
        nameMap: Record<string, { tag: string } | undefined>
      }
      DicomDict: typeof DicomDict
    }
    log: { setLevel(level: string): void }
  }
  export default dcmjs
}
