/** The local model server's videos: that they play, what they show, and what happens on the way. */
import { execFile } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import ffmpeg from '@ffmpeg-installer/ffmpeg'
import Replicate from 'replicate'
import sharp from 'sharp'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import { startModels } from '../server.ts'
import { fetchOutput, filmModel, listen, token, useModels, webhookSecret } from './models.ts'

// Other stacks film at the same time: what this one leaves behind shows in a folder of its own.
const { TMPDIR } = process.env
process.env.TMPDIR = mkdtempSync(join(tmpdir(), 'video-test-'))
afterAll(async () => {
  await rm(tmpdir(), { recursive: true, force: true })
  // Other files run in this process after this one.
  if (TMPDIR === undefined) delete process.env.TMPDIR
  else process.env.TMPDIR = TMPDIR
})

const models = useModels()
/** For what has to last a while: nothing here is filmed to its end. */
const large = useModels({ film: 0.7 })
const long = { version: filmModel, input: { prompt: 'Long', duration: 15 } }
const run = promisify(execFile)

/** Runs ffmpeg over a video; gives what it says and the bytes it writes. */
async function inspect(video: Uint8Array, ...options: string[]): Promise<{ stderr: string; stdout: Buffer }> {
  const folder = await mkdtemp(join(tmpdir(), 'inspect-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'video.mp4'), video)
  const settings = { encoding: 'buffer' as const, maxBuffer: 64 * 1024 * 1024 }
  const { stderr, stdout } = await run(
    ffmpeg.path,
    ['-hide_banner', '-i', join(folder, 'video.mp4'), ...options, 'pipe:1'],
    settings,
  )
  return { stderr: stderr.toString(), stdout }
}

/** Each frame as 32 × 18 grey values. */
async function readFrames(video: Uint8Array): Promise<Buffer[]> {
  const { stdout } = await inspect(video, ...'-vf scale=32:18,format=gray -f rawvideo'.split(' '))
  return Array.from({ length: stdout.length / 576 }, (_, i) => stdout.subarray(i * 576, (i + 1) * 576))
}

const mean = (frame: Uint8Array) => frame.reduce((sum, value) => sum + value, 0) / frame.length

const countFilms = async () => {
  const { stdout } = await run('ps', ['-A', '-o', 'ppid=,command='])
  return stdout
    .split('\n')
    .filter((line) => Number.parseInt(line, 10) === process.pid && line.includes('video.mp4')).length
}

describe('videos', () => {
  test.each([
    ['16:9', 216, 120, 1, 'luxury'],
    ['9:16', 120, 216, 2, 'fresh'],
    ['1:1', 160, 160, 1, 'modern'],
    ['4:3', 184, 136, 1, 'tech'],
    ['3:4', 136, 184, 1, 'warm'],
  ])(
    'of %s are %i × %i at a quarter of their size, H.264, and as long as asked',
    async (aspect_ratio, width, height, duration, style) => {
      const prediction = await models.film({
        prompt: `Ceramic mug in a ${style} style`,
        aspect_ratio,
        duration,
      })
      expect(prediction).toMatchObject({ status: 'succeeded', error: null, model: filmModel })
      const video = await fetchOutput(String(prediction.output))
      const { stderr } = await inspect(video, '-f', 'null')
      expect(stderr).toMatch(new RegExp(`Video: h264 \\(Main\\).*yuv420p.*${width}x${height}.*24 fps`))
      expect(stderr).not.toContain('Audio:')
      const [, seconds] = /Duration: 00:00:(\d+\.\d+)/.exec(stderr) ?? []
      expect(Math.abs(Number(seconds) - duration)).toBeLessThan(0.2)
      const at = (box: string) => video.indexOf(box, 0, 'latin1')
      expect(at('moov'), 'the index comes before the frames').toBeLessThan(at('mdat'))
    },
  )

  test('without a photo fade in and out and move in between', async () => {
    const { output } = await models.film({ prompt: 'Honey jar in a fresh style', duration: 2, seed: 5 })
    const frames = await readFrames(await fetchOutput(String(output)))
    expect(frames).toHaveLength(48)
    const [first, early, late, last] = [0, 12, 36, 47].map((at) => frames[at] ?? Buffer.alloc(576))
    const brightness = [first, early, late, last].map((frame) => Math.round(mean(frame ?? Buffer.alloc(576))))
    expect(brightness[0]).toBeLessThan(40)
    expect(brightness[1]).toBeGreaterThan(150)
    expect(brightness[2]).toBeGreaterThan(150)
    expect(brightness[3]).toBeLessThan(80)
    const difference = mean(early?.map((value, i) => Math.abs(value - (late?.[i] ?? 0))) ?? Buffer.alloc(1))
    expect(difference, 'the camera moves').toBeGreaterThan(1)
  })

  test('take five seconds unless asked', async () => {
    const { output } = await models.film({ prompt: 'Unhurried' })
    expect(await readFrames(await fetchOutput(String(output)))).toHaveLength(120)
  })

  test('begin with the photo and take its shape', async () => {
    const wide = await sharp(models.photo).resize(720, 480, { fit: 'cover' }).jpeg().toBuffer()
    const { output } = await models.run('wan-video/wan-2.5-i2v', {
      prompt: 'Slowly closer',
      image: `data:image/jpeg;base64,${wide.toString('base64')}`,
      duration: 1,
    })
    const video = await fetchOutput(String(output))
    const { stderr } = await inspect(video, '-f', 'null')
    const [, width, height] = /Video: h264.* (\d+)x(\d+)/.exec(stderr) ?? []
    expect(Number(width) / Number(height)).toBeCloseTo(1.5, 1)
    const frames = await readFrames(video)
    expect(frames).toHaveLength(24)
    const photo = await sharp(wide).resize(32, 18, { fit: 'fill' }).greyscale().raw().toBuffer()
    const compare = (frame: Uint8Array = Buffer.alloc(576)) =>
      mean(frame.map((value, i) => Math.abs(value - (photo[i] ?? 0))))
    expect(compare(frames[0]), 'the first frame is the photo').toBeLessThan(10)
    expect(compare(frames[23]), 'the last is not').toBeGreaterThan(compare(frames[0]))
  })

  test('are the same bytes for a seed and others for another', async () => {
    const shoot = async (seed: number) =>
      fetchOutput((await models.film({ prompt: 'Seeded', seed, duration: 1 })).output)
    const [first, again, other] = [await shoot(1), await shoot(1), await shoot(2)]
    expect(first.equals(again)).toBe(true)
    expect(first.equals(other)).toBe(false)
  })

  test('are served with type and length, and in part', async () => {
    const { output } = await models.film({ prompt: 'Served', duration: 1 })
    expect(output).toMatch(/\.mp4$/)
    const whole = await fetchOutput(output)
    const head = await fetch(output, { method: 'HEAD' })
    expect(Object.fromEntries(head.headers)).toMatchObject({
      'content-type': 'video/mp4',
      'content-length': String(whole.length),
      'accept-ranges': 'bytes',
    })
    for (const [range, from, to] of [
      ['bytes=0-99', 0, 99],
      ['bytes=100-', 100, whole.length - 1],
      ['bytes=-50', whole.length - 50, whole.length - 1],
    ] as const) {
      const part = await fetch(output, { headers: { range } })
      expect(part.status).toBe(206)
      expect(part.headers.get('content-range')).toBe(`bytes ${from}-${to}/${whole.length}`)
      expect(whole.subarray(from, to + 1).equals(await part.bytes())).toBe(true)
    }
    const beyond = await fetch(output, { headers: { range: `bytes=${whole.length}-` } })
    expect(beyond.status).toBe(416)
  })

  test('kill ffmpeg when they are canceled', async () => {
    const leftovers = async () =>
      (await readdir(tmpdir())).filter((name) => name.startsWith('product-motion-'))
    const before = await leftovers()
    const { id } = await large.client.predictions.create(long)
    await expect.poll(countFilms, { timeout: 10_000 }).toBe(1)
    expect((await large.client.predictions.cancel(id)).status).toBe('canceled')
    await expect.poll(countFilms).toBe(0)
    await expect.poll(leftovers).toEqual(before)
    expect(await large.client.predictions.get(id)).toMatchObject({ status: 'canceled', output: null })
    expect((await fetch(`${large.server.origin}/outputs/${id}/0.mp4`)).status).toBe(404)
  })

  test('kill ffmpeg when the server stops', async () => {
    const server = await startModels({ token, webhookSecret })
    const client = new Replicate({ auth: token, baseUrl: server.url })
    await client.predictions.create(long)
    await expect.poll(countFilms, { timeout: 10_000 }).toBe(1)
    await server.stop()
    expect(await countFilms()).toBe(0)
  })

  test('are made one at a time, and pictures meanwhile', async () => {
    const [first, second] = await Promise.all([
      large.client.predictions.create(long),
      large.client.predictions.create(long),
    ])
    const status = async (id = '') => (await large.client.predictions.get(id)).status
    await expect.poll(() => status(first.id)).toBe('processing')
    expect((await large.generate({ prompt: 'Picture' })).status).toBe('succeeded')
    expect(await Promise.all([status(first.id), status(second.id)])).toEqual(['processing', 'starting'])
    await large.client.predictions.cancel(first.id)
    await expect.poll(() => status(second.id)).toBe('processing')
    await large.client.predictions.cancel(second.id)
  })

  test('fail, break and vanish as pictures do', async () => {
    const gone = await listen(() => 404)
    expect(await models.film({ prompt: 'x', image: `${gone}/mug.jpg` })).toMatchObject({
      status: 'failed',
      error: `Failed to fetch image ${gone}/mug.jpg: HTTP 404`,
    })
    await models.fault({ kind: 'failed_prediction', match: 'doomed' })
    expect((await models.film({ prompt: 'doomed' })).error).toBe('CUDA out of memory')
    await models.fault({ kind: 'partial_output', match: 'nothing' })
    expect(await models.film({ prompt: 'nothing', duration: 1 })).toMatchObject({
      status: 'succeeded',
      output: null,
    })
    const { output } = await models.film({ prompt: 'spoiled', duration: 1 })
    await models.fault({ kind: 'broken_output', match: 'spoiled' })
    await expect(fetch(output).then((response) => response.arrayBuffer())).rejects.toThrow()
    await models.fault({ kind: 'missing_output', match: 'spoiled' })
    expect((await fetch(output)).status).toBe(404)
  })
})
