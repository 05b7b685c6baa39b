/**
 * `npm run storage:setup`: sets what a bucket needs, and tries what it must be able to do; says of each whether it could.
 * Rules of its own that a bucket has are never replaced. Settings: S3_ENDPOINT, S3_REGION, S3_ACCESS_KEY_ID,
 * S3_SECRET_ACCESS_KEY, the same of a second bucket as S3_FALLBACK_…, if there is one, and ALLOWED_ORIGINS of the front ends.
 */
import { createHash } from 'node:crypto'
import { AwsClient } from 'aws4fetch'

const origins = (process.env.ALLOWED_ORIGINS ?? '').split(',').flatMap((origin) => origin.trim() || [])
let bucket = ''
let s3: AwsClient

/** Takes the bucket whose settings begin so. */
const use = (prefix: 'S3' | 'S3_FALLBACK') => {
  const read = (name: string) => process.env[`${prefix}_${name}`]
  bucket = (read('ENDPOINT') ?? '').replace(/\/+$/, '')
  s3 = new AwsClient({
    accessKeyId: read('ACCESS_KEY_ID') ?? '',
    secretAccessKey: read('SECRET_ACCESS_KEY') ?? '',
    region: read('REGION') ?? 'auto',
    service: 's3',
    retries: 1,
  })
}

const ask = async (method: string, path: string, body?: string, headers: Record<string, string> = {}) => {
  const md5 = body !== undefined && { 'content-md5': createHash('md5').update(body).digest('base64') }
  const answer = await s3.fetch(bucket + path, {
    method,
    headers: { ...md5, ...headers },
    ...(body !== undefined && { body }),
  })
  return { status: answer.status, text: await answer.text() }
}
const codeOf = ({ status, text }: { status: number; text: string }) =>
  `${status} ${/<Code>([^<]*)/.exec(text)?.[1] ?? ''}`.trim()

class Refused extends Error {}
const expect = (answer: { status: number; text: string }, ...statuses: number[]) => {
  if (!statuses.includes(answer.status)) throw new Refused(`the bucket answers ${codeOf(answer)}`)
  return answer
}

/** Sets a configuration of the bucket unless it has one, which must then say the same. */
const configure = async (name: string, xml: string, isEnough: (known: string) => boolean) => {
  const known = await ask('GET', `?${name}=`)
  if (known.status === 200 && !isEnough(known.text) && /<(CORS)?Rule>/.test(known.text)) {
    throw new Refused(`the bucket has rules of its own; add this one: ${xml}`)
  }
  if (known.status === 200 && isEnough(known.text)) return 'was set'
  expect(await ask('PUT', `?${name}=`, xml), 200, 204)
  if (!isEnough(expect(await ask('GET', `?${name}=`), 200).text))
    throw new Refused('it was taken, and is not there')
  return 'set'
}

const KEY = '/storage-setup'
const steps: Record<string, () => Promise<string>> = {
  async 'the bucket is there, and may be listed'() {
    expect(await ask('GET', '?list-type=2&max-keys=1'), 200)
    return 'yes'
  },
  async 'front ends may send and read files (CORS)'() {
    if (origins.length === 0) return 'ALLOWED_ORIGINS names none'
    const of = origins.map((origin) => `<AllowedOrigin>${origin}</AllowedOrigin>`).join('')
    const methods = ['GET', 'HEAD', 'PUT'].map((one) => `<AllowedMethod>${one}</AllowedMethod>`).join('')
    const xml = `<CORSConfiguration><CORSRule>${of}${methods}<AllowedHeader>*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>7200</MaxAgeSeconds></CORSRule></CORSConfiguration>`
    return configure(
      'cors',
      xml,
      (known) => origins.every((origin) => known.includes(`>${origin}<`)) && known.includes('>PUT<'),
    )
  },
  async 'what is left of broken uploads goes after two days (lifecycle)'() {
    const xml =
      '<LifecycleConfiguration><Rule><ID>abort-uploads</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>'
    return configure('lifecycle', xml, (known) => known.includes('<DaysAfterInitiation>'))
  },
  async 'deleted files are gone (no versions)'() {
    const { status, text } = await ask('GET', '?versioning=')
    if (status === 200 && text.includes('>Enabled<'))
      throw new Refused('the bucket keeps versions: suspend that')
    return status === 200 ? 'yes' : 'it does not say'
  },
  async 'what is there is not overwritten (If-None-Match)'() {
    const once = { 'if-none-match': '*' }
    await ask('DELETE', KEY)
    expect(await ask('PUT', KEY, 'a', once), 200)
    const again = await ask('PUT', KEY, 'b', once)
    await ask('DELETE', KEY)
    if (again.status === 200)
      throw new Refused('it is: whoever has the URL of an upload can change the file for an hour')
    expect(again, 412)
    return 'yes'
  },
  async 'signed lengths and types are enforced'() {
    const url = `${bucket}${KEY}?X-Amz-Expires=60`
    const headers = { 'content-type': 'image/png', 'content-length': '1' }
    const aws = { signQuery: true, allHeaders: true }
    const signed = await s3.sign(url, { method: 'PUT', headers, aws })
    const send = (type: string, body: string) =>
      fetch(signed.url, { method: 'PUT', headers: { 'content-type': type }, body }).then(
        ({ status }) => status,
      )
    const [other, longer, right] = [
      await send('text/html', 'a'),
      await send('image/png', 'ab'),
      await send('image/png', 'a'),
    ]
    await ask('DELETE', KEY)
    if (right !== 200) throw new Refused(`what was signed is refused with ${right}`)
    if (other === 200 || longer === 200)
      throw new Refused('they are not: uploads are checked only when they are complete')
    return 'yes'
  },
  async 'large files come in parts'() {
    const { text } = expect(await ask('POST', `${KEY}?uploads=`), 200)
    const id = encodeURIComponent(/<UploadId>([^<]+)/.exec(text)?.[1] ?? '')
    try {
      expect(await ask('PUT', `${KEY}?partNumber=1&uploadId=${id}`, 'a'), 200)
      const list = expect(await ask('GET', `${KEY}?uploadId=${id}`), 200).text
      if (!list.includes('<PartNumber>1</PartNumber>')) throw new Refused('they are not listed')
    } finally {
      expect(await ask('DELETE', `${KEY}?uploadId=${id}`), 204)
    }
    return 'yes'
  },
}

let failed = 0
if (!process.env.S3_ENDPOINT) throw new Error('S3_ENDPOINT is not set')
for (const prefix of ['S3', 'S3_FALLBACK'] as const) {
  use(prefix)
  if (bucket === '') continue
  console.log(bucket)
  for (const [what, step] of Object.entries(steps)) {
    try {
      console.log(`ok        ${what}: ${await step()}`)
    } catch (error) {
      failed++
      console.log(`MISSING   ${what}: ${error instanceof Error ? error.message : error}`)
    }
  }
}
console.log(
  'by hand   completion without a call, on R2: npx wrangler r2 bucket notification create BUCKET --event-type object-create --queue arrivals --prefix workspaces/',
)
process.exit(failed > 0 ? 1 : 0)
