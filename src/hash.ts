/** SHA-256 of a text, as lower-case hex. */
export const sha256Hex = async (text: string): Promise<string> =>
  Buffer.from(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))).toString('hex')
