/** What a file is, by its first bytes, or by its name where those say nothing. */

const SIGNATURES: readonly (readonly [RegExp, string])[] = [
  [/^\xff\xd8\xff/, 'image/jpeg'],
  [/^\x89PNG/, 'image/png'],
  [/^GIF8/, 'image/gif'],
  [/^RIFF.{4}WEBP/s, 'image/webp'],
  [/^.{4}ftypavi[fs]/s, 'image/avif'],
  [/^.{4}ftyp(hei|hev|mif1|msf1)/s, 'image/heic'],
  [/^.{4}ftyp/s, 'video/mp4'],
  [/^.E\xdf\xa3/s, 'video/webm'],
  [/^%PDF/, 'application/pdf'],
]
const OFFICE = 'application/vnd.openxmlformats-officedocument.'
const EXTENSIONS: Record<string, string> = {
  docx: `${OFFICE}wordprocessingml.document`,
  xlsx: `${OFFICE}spreadsheetml.sheet`,
  txt: 'text/plain',
}

/** @returns undefined where neither says what the API takes */
export const mediaTypeOf = async (file: Blob, name: string): Promise<string | undefined> => {
  const head = String.fromCharCode(...new Uint8Array(await file.slice(0, 16).arrayBuffer()))
  const found = SIGNATURES.find(([signature]) => signature.test(head))
  return found?.[1] ?? EXTENSIONS[/\.(\w+)$/.exec(name)?.[1]?.toLowerCase() ?? '']
}
