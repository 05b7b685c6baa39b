/**
 * What each offer of the catalogue is sent, by way of HTTP, for the smallest and the largest job that `GET /models` promises: held against the model's recorded schema, and every word in it.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkInput } from '../../models/check.ts'
import { makeSamplePhoto } from '../../models/photo.ts'
import { findSchema, loadSchemas, type SchemaProvider } from '../../models/schemas.ts'
import { builtIn } from '../../src/catalogue/offers.ts'
import { type FaultStack, type Sent, startFaultStack } from '../support/faults.ts'

/** Each offer as a model of its own, so that no other takes its place. */
const models = builtIn.flatMap((model) =>
  model.offers.map((offer, i) => ({ ...model, id: `${model.id}-${i}`, offers: [offer] as const })),
)
const schemas = loadSchemas()

let stack: FaultStack
let tenant: Awaited<ReturnType<FaultStack['newTenant']>>
const photos: string[] = []
beforeAll(async () => {
  stack = await startFaultStack({ MODEL_CATALOGUE: JSON.stringify(models) })
  tenant = await stack.newTenant('enterprise')
  const photo = await makeSamplePhoto()
  for (let i = 0; i < 10; i++) photos.push(await tenant.upload(photo))
}, 90_000)
afterAll(() => stack?.stop(), 60_000)

interface Inputs {
  prompt: boolean
  text: boolean
  seed: boolean
  minInputAssets: number
  maxInputAssets: number
  maxCount: number
  aspectRatios: string[]
  durations: number[] | null
}
type Body = Record<string, unknown> & { id: string; errors?: { pointer: string; message: string }[] }
const post = (body: object) => tenant.ask<Body>('POST', '/generations', body)

/** What the provider would refuse, or never hear. */
const problemsWith = ({ provider, model, input }: Sent): unknown[] => {
  const name = provider === 'cloudflare' ? 'workers-ai' : provider
  // `as`: the server's name of a protocol is a provider's but for that one.
  const schema = findSchema(schemas, name as SchemaProvider, model)
  if (!schema) return ['no schema']
  // OpenAI's other address makes pictures without a photo.
  const required = schema.input.required?.filter((field) => field !== 'image' || provider !== 'openai')
  const known = schema.input.properties ?? {}
  return [
    ...checkInput({ ...schema.input, required }, input),
    ...Object.keys(input).filter((field) => !(field in known)),
  ]
}

/** All strings in it. */
const textsIn = (value: unknown): string[] => {
  if (typeof value === 'string') return [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : []
}

/** An address, or what the model server leaves of a file. */
const isPicture = (text: string) => /^https?:|^<[^<]*(bytes|characters)>$/.test(text)

/** @returns what the provider was sent for the job, which succeeds; one job of a model at a time */
const sentFor = async ({ offers: [{ model }] }: Case, request: object): Promise<Sent[]> => {
  const ofModel = async () => (await stack.sent()).filter((one) => one.model === model)
  const before = await ofModel()
  const { status, body } = await post(request)
  expect(status, JSON.stringify(body)).toBe(202)
  const job = await tenant.finished(body.id, 60_000)
  const after = await ofModel()
  const sent = after.slice(0, after.length - before.length)
  expect(sent.flatMap(problemsWith)).toEqual([])
  const failures = await stack.query('select failure from provider_jobs where generation_id = $1', [body.id])
  expect(job, JSON.stringify(failures)).toMatchObject({ status: 'succeeded', attempts: sent.length })
  expect(job.outputs).toHaveLength(job.count as number)
  return sent
}

/** As many characters as that, in scripts, signs and lines that something on the way may not bear. */
const wordsOf = (script: string, length: number) => {
  const characters = Array.from(script)
  return Array.from({ length }, (_, i) => (i === length - 1 ? '.' : characters[i % characters.length])).join(
    '',
  )
}
const scripts = [
  '把产品放在早餐桌上,晨光从窗户照进来。',
  'ضع المنتج على طاولة الإفطار بجانب النافذة في ضوء الصباح، ',
  `"Sale" 'now' “−20 %” «été» \\ {"a":"b"} --form-data <b>&amp; \r\n\t%00 😀 `,
]

type Case = (typeof models)[number]

const inputsOf = async ({ id }: Case): Promise<Inputs> => {
  const { body } = await tenant.ask<{ data: { id: string; inputs: Inputs }[] }>('GET', '/models')
  const found = body.data.find((model) => model.id === id)
  if (!found) throw new Error(`${id} is not offered`)
  return found.inputs
}

const checkSmallest = async (one: Case) => {
  const { minInputAssets } = await inputsOf(one)
  const inputAssetIds = photos.slice(0, minInputAssets)
  // Without words where the photo says enough.
  const words = minInputAssets === 0 ? { prompt: 'x' } : {}
  const [sent] = await sentFor(one, { task: one.task, model: one.id, inputAssetIds, ...words })
  expect(textsIn(sent?.input).filter(isPicture)).toHaveLength(inputAssetIds.length)
}

const checkLargest = async (one: Case) => {
  const inputs = await inputsOf(one)
  const request = {
    task: one.task,
    model: one.id,
    inputAssetIds: photos.slice(0, inputs.maxInputAssets),
    count: inputs.maxCount,
    ...(inputs.prompt && { style: 'business' }),
    ...(inputs.text && { text: wordsOf('“早安” صباح "Hi" ', 200) }),
    ...(inputs.aspectRatios.length > 0 && { aspectRatio: inputs.aspectRatios.at(-1) }),
    ...(inputs.durations && { durationSeconds: inputs.durations.at(-1) }),
    ...(inputs.seed && { seed: 2_147_483_647 }),
  }
  if (!inputs.prompt) {
    await sentFor(one, request)
    return
  }
  // Each offer another script, so that each provider gets each.
  const script = scripts[models.indexOf(one) % scripts.length] ?? ''
  const refused = await post({ ...request, prompt: wordsOf(script, 2000), maxCredits: 0 })
  const [problem] = refused.body.errors ?? []
  const room = Number(/at most (\d+) characters/.exec(problem?.message ?? '')?.[1] ?? 2000)
  expect(problem?.pointer).toBe(room < 2000 ? '/prompt' : '/maxCredits')
  expect(room).toBeGreaterThan(200)
  const tooLong = await post({ ...request, prompt: wordsOf(script, room + 1) })
  expect(tooLong).toMatchObject({ status: 422, body: { errors: [{ pointer: '/prompt' }] } })
  const prompt = wordsOf(script, room)
  const sent = await sentFor(one, { ...request, prompt })
  const [offer] = one.offers
  expect(sent).toHaveLength(Math.ceil(inputs.maxCount / (offer.input.count?.max ?? 1)))
  for (const { input } of sent) {
    const texts = textsIn(input)
    expect(texts.join('\n')).toContain(prompt)
    if (request.text) expect(texts.join('\n')).toContain(`“${request.text}”`)
    expect(texts.filter(isPicture)).toHaveLength(inputs.maxInputAssets)
    // A provider's line may be long.
    for (const url of texts.filter((text) => text.startsWith('http')))
      expect(Number(new URL(url).searchParams.get('X-Amz-Expires'))).toBeGreaterThanOrEqual(3600)
  }
}

const names = [...new Set(models.map(({ offers: [{ model }] }) => model))]
test.concurrent.each(names)('%s', { timeout: 180_000 }, async (name) => {
  for (const one of models.filter(({ offers: [offer] }) => offer.model === name)) {
    await checkSmallest(one)
    await checkLargest(one)
  }
})
