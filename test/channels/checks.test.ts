/** What a channel's rules say of pictures and films: each with the figure found and the figure wanted. */
import sharp from 'sharp'
import { beforeAll, expect, test } from 'vitest'
import type { Client } from '../support/client.ts'
import { asOwner } from '../support/database.ts'
import { film, product, scene } from '../support/pictures.ts'
import { newTenant } from '../support/tenants.ts'

interface Check {
  rule: string
  level: string
  passes: boolean | null
  found: string | null
  wanted: string
  helps: string | null
}
type Report = { data: { channel: string; passes: boolean; checks: Check[] }[] }

let client: Client
beforeAll(async () => {
  ;({ client } = await newTenant())
})

const checkOf = async (bytes: Uint8Array, channel: string, name = 'photo') => {
  const { body } = await client.upload(name, bytes)
  const answer = await client.get<Report>(`/assets/${body.id}/checks?channel=${channel}`)
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  const [report] = answer.body.data
  if (!report) throw new Error('no report')
  const rule = (rule: string, level?: string) =>
    report.checks.find((check) => check.rule === rule && (!level || check.level === level))
  return { ...report, id: body.id, rule }
}

test('a packshot on pure white that is large enough passes', async () => {
  const { passes, checks, rule } = await checkOf(
    await product(2000, 2000, 0.9, '#fff').flatten().jpeg({ quality: 90 }).toBuffer(),
    'amazon-main',
  )
  expect(checks.filter((check) => check.passes !== true)).toEqual([])
  expect(passes).toBe(true)
  expect(rule('fill')?.found).toMatch(/^90(\.\d+)? % of the 2000 x 2000 px$/)
})

test('one pixel that is not quite white is found', async () => {
  const dot = { input: { create: { width: 1, height: 1, channels: 3, background: '#fefefe' } } } as const
  const packshot = await product(1000, 1000, 0.86, '#fff').flatten().png().toBuffer()
  const { passes, rule } = await checkOf(
    await sharp(packshot)
      .composite([{ ...dot, left: 20, top: 20 }])
      .png()
      .toBuffer(),
    'amazon-main',
  )
  expect(passes).toBe(false)
  expect(rule('background')).toMatchObject({
    passes: false,
    found: expect.stringMatching(/^1 of \d+ are not, the darkest at 254 of 255$/),
    helps: 'cutout',
  })
})

test('a small product on grey fills too little, and is on no white', async () => {
  const { rule } = await checkOf(
    await product(900, 900, 0.4, '#ddd').flatten().jpeg().toBuffer(),
    'amazon-main',
  )
  expect(rule('fill')).toMatchObject({
    passes: false,
    found: expect.stringMatching(/^4[01]/),
    wanted: '85 to 100 %',
  })
  expect(rule('background')).toMatchObject({ passes: false, found: expect.stringContaining('#dddddd') })
  expect(rule('size', 'recommended')).toMatchObject({
    passes: false,
    found: '900 x 900 px',
    helps: 'upscale',
  })
})

test('in a scene nothing tells the product from its background', async () => {
  const { rule } = await checkOf(await scene(1600, 1600).jpeg().toBuffer(), 'amazon-main')
  expect(rule('fill')).toMatchObject({
    passes: false,
    found: expect.stringMatching(/^nothing/),
    helps: 'cutout',
  })
})

test('a frame is found on each side', async () => {
  const framed = await scene(800, 600)
    .extend({ top: 30, bottom: 30, left: 12, right: 0, background: '#102030' })
    .png()
    .toBuffer()
  const { rule } = await checkOf(framed, 'google-merchant')
  expect(rule('borders')).toMatchObject({
    passes: false,
    found: 'left 12 px of #102030, top 30 px of #102030, bottom 30 px of #102030',
  })
})

test.each([
  ['Display P3', () => scene(600, 600).withIccProfile('p3').png().toBuffer(), false, /^rgb, .*P3/],
  ['sRGB', () => scene(600, 600).withIccProfile('srgb').jpeg().toBuffer(), true, /^rgb, .*sRGB/i],
  ['CMYK', () => scene(600, 600).toColourspace('cmyk').jpeg().toBuffer(), false, /^cmyk/],
  [
    'no profile, 16 bits',
    () => scene(600, 600).toColourspace('rgb16').png().toBuffer(),
    true,
    /^rgb, no profile/,
  ],
  ['grey', () => scene(600, 600).toColourspace('b-w').jpeg().toBuffer(), true, /^grey/],
  ['WebP in Display P3', () => scene(600, 600).withIccProfile('p3').webp().toBuffer(), false, /P3/],
])('the colour space of %s', async (_, make, passes, found) => {
  const { rule } = await checkOf(await make(), 'amazon-main')
  expect(rule('colour_space')).toMatchObject({ passes, found: expect.stringMatching(found), wanted: 'sRGB' })
})

/** Segments of nothing that come before what a JPEG is. */
const padded = (jpeg: Buffer, bytes: number) => {
  const filler = Buffer.concat([Buffer.from([0xff, 0xef, 0xff, 0xff]), Buffer.alloc(65_533)])
  const fillers = Array.from({ length: Math.ceil(bytes / filler.length) }, () => filler)
  return Buffer.concat([jpeg.subarray(0, 2), ...fillers, jpeg.subarray(2)])
}
const utf16 = (text: string) => Buffer.from(text, 'utf16le').swap16()
const renamed = (bytes: Buffer, from: string, to: string) => {
  const at = bytes.indexOf(utf16(from))
  if (at < 0) throw new Error(`no ${from}`)
  return Buffer.concat([bytes.subarray(0, at), utf16(to), bytes.subarray(at + 2 * to.length)])
}
/** The chunks of that type, as they are in the file. */
const chunksOf = (png: Buffer, type: string) => {
  const start = png.indexOf(type) - 4
  return png.subarray(start, start + png.readUInt32BE(start) + 12)
}
const p3 = () => scene(600, 600).withIccProfile('p3')

test.each([
  [
    'CMYK behind a megabyte of other things',
    async () => padded(await scene(600, 600).toColourspace('cmyk').jpeg().toBuffer(), 1e6),
    /^cmyk/,
  ],
  [
    'CMYK with the profile of sRGB',
    async () => {
      const cmyk = await scene(600, 600).toColourspace('cmyk').jpeg().toBuffer()
      const srgb = await scene(60, 60).withIccProfile('srgb').jpeg().toBuffer()
      const at = srgb.indexOf('ICC_PROFILE') - 4
      return Buffer.concat([
        cmyk.subarray(0, 2),
        srgb.subarray(at, at + 2 + srgb.readUInt16BE(at + 2)),
        cmyk.subarray(2),
      ])
    },
    /^cmyk/,
  ],
  [
    'Display P3 that calls itself sRGB',
    async () => renamed(await p3().jpeg().toBuffer(), 'sP3C', 'sRGB'),
    /^rgb, sRGB/,
  ],
  [
    'a second profile, of sRGB',
    async () => {
      const png = await p3().png().toBuffer()
      const other = chunksOf(await scene(60, 60).withIccProfile('srgb').png().toBuffer(), 'iCCP')
      const at = png.indexOf('IDAT') - 4
      return Buffer.concat([png.subarray(0, at), other, png.subarray(at)])
    },
    /P3/,
  ],
  [
    'a profile that is none',
    async () => {
      const png = await p3().png().toBuffer()
      const at = png.indexOf('iCCP')
      return Buffer.concat([png.subarray(0, at + 30), Buffer.alloc(20), png.subarray(at + 50)])
    },
    /a profile that cannot be read/,
  ],
])('colours are not mistaken: %s', async (_, make, found) => {
  const { rule } = await checkOf(await make(), 'amazon-main')
  expect(rule('colour_space')).toMatchObject({ passes: false, found: expect.stringMatching(found) })
  expect(rule('colour_space')?.found?.length).toBeLessThan(200)
})

test('a marking is no other word of its kind, wherever it stands', async () => {
  const { id, rule } = await checkOf(
    Buffer.concat([await scene(600, 600).png().toBuffer(), Buffer.from('digitalsourcetype/digitalCapture')]),
    'web',
  )
  expect(rule('ai_marking')).toMatchObject({ passes: true, found: 'digitalCapture' })
  await asOwner("update assets set source = 'generation' where id = $1", [id])
  const { body } = await client.get<Report>(`/assets/${id}/checks?channel=web`)
  expect(body.data[0]?.checks.find((check) => check.rule === 'ai_marking')).toMatchObject({ passes: false })
  const both = await checkOf(
    Buffer.concat([
      await scene(600, 601).png().toBuffer(),
      Buffer.from('digitalsourcetype/digitalCapture digitalsourcetype/trainedAlgorithmicMedia'),
    ]),
    'web',
  )
  expect(both.rule('ai_marking')?.found).toBe('trainedAlgorithmicMedia')
})

test.each(['amazon-main', 'google-merchant', 'shopify', 'instagram-feed', 'web'])(
  'half a picture does not pass as one for %s',
  async (channel) => {
    const half = (await scene(1000, 1200).jpeg().toBuffer()).subarray(0, 60_000)
    const { passes, rule } = await checkOf(half, channel)
    expect(passes).toBe(false)
    expect(rule('intact')).toMatchObject({
      level: 'required',
      passes: false,
      found: 'a picture whose pixels cannot be read',
      wanted: 'a picture that can be read',
    })
    const whole = await checkOf(await scene(1000, 1200).jpeg().toBuffer(), channel)
    expect(whole.rule('intact')).toMatchObject({ passes: true, found: 'one that can' })
  },
)

test('a picture that is too large to be looked at is not said to be whole', async () => {
  const { id } = await checkOf(await scene(600, 600).png().toBuffer(), 'web')
  await asOwner('update assets set width = 20000, height = 20000 where id = $1', [id])
  const { body } = await client.get<Report>(`/assets/${id}/checks?channel=web`)
  expect(body.data[0]?.checks[0]).toMatchObject({
    rule: 'intact',
    passes: null,
    found: 'a picture that is too large to be looked at',
  })
})

test('what a model made has to say so', async () => {
  const { id } = await checkOf(await scene(600, 600).png().toBuffer(), 'web')
  await asOwner("update assets set source = 'generation' where id = $1", [id])
  const { body } = await client.get<Report>(`/assets/${id}/checks?channel=google-merchant`)
  expect(body.data[0]?.checks.find(({ rule }) => rule === 'ai_marking')).toMatchObject({
    passes: false,
    found: null,
  })
})

test('all channels at once, and none for a text', async () => {
  const { body } = await client.upload('note.txt', 'text')
  const answer = await client.get<Report>(`/assets/${body.id}/checks`)
  expect(answer.body.data).toHaveLength(7)
  for (const { passes, checks } of answer.body.data) {
    expect(passes).toBe(false)
    expect(checks).toMatchObject([{ rule: 'kind', found: 'document' }])
  }
})

test('a film as encoders write it lacks only its index in front', async () => {
  const { passes, checks, rule } = await checkOf(await film(), 'instagram-reel', 'film.mp4')
  expect(passes).toBe(false)
  expect(checks.filter((check) => !check.passes)).toMatchObject([
    { rule: 'moov_first', found: expect.stringMatching(/mdat moov$/), helps: 'export' },
  ])
  expect(rule('duration')?.found).toMatch(/^6(\.\d+)? s$/)
  expect([rule('video_codec')?.found, rule('audio_codec')?.found]).toEqual(['H.264', 'AAC'])
  expect(rule('frame_rate')?.found).toMatch(/^2[45](\.\d+)? frames a second$/)
})

test('a film that is too short, too wide and too slow for its channel', async () => {
  const bytes = await film({ width: 640, height: 480, seconds: 2, rate: 15, first: true })
  const reel = await checkOf(bytes, 'instagram-reel', 'film.mp4')
  const failed = reel.checks.filter(({ passes }) => passes === false).map(({ rule }) => rule)
  expect(failed).toEqual(['frame_rate', 'duration', 'aspect', 'size'])
  const tiktok = await checkOf(bytes, 'tiktok', 'film.mp4')
  expect(tiktok.rule('aspect')).toMatchObject({ found: '1.33:1', wanted: '9:16, 1:1 or 16:9' })
})

test('a film whose length nobody knew when it was written', async () => {
  const bytes = Buffer.from(await film({ seconds: 5, first: true }))
  // Version, flags, two times and a scale stand before it.
  bytes.writeUInt32BE(0xffffffff, bytes.indexOf('mvhd') + 4 + 16)
  const { rule } = await checkOf(bytes, 'tiktok', 'film.mp4')
  expect(rule('duration')).toMatchObject({ passes: null, found: null })
})

test('a film that is cut off', async () => {
  const bytes = await film({ seconds: 5, first: true })
  const cut = await checkOf(bytes.subarray(0, bytes.length * 0.7), 'tiktok', 'film.mp4')
  expect(cut.passes).toBe(false)
  expect(cut.rule('intact')).toMatchObject({
    passes: false,
    found: expect.stringMatching(/^\d+ of \d+ bytes$/),
  })
  const headless = await checkOf((await film({ seconds: 5 })).subarray(0, 50_000), 'tiktok', 'film.mp4')
  expect(headless.rule('intact')).toMatchObject({
    passes: false,
    found: 'no index, or none that can be read',
  })
})
