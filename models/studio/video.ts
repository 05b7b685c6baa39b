/** Makes a video of a still picture with ffmpeg: a slow camera move, as an MP4 that plays everywhere. */
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import ffmpeg from '@ffmpeg-installer/ffmpeg'
import { type Move, toFilter } from './camera.ts'

const framesPerSecond = 24

export interface VideoOptions {
  /** Three bytes a pixel, somewhat larger than the video, so that it stays sharp when the camera is near. */
  still: { data: Uint8Array; width: number; height: number }
  width: number
  height: number
  seconds: number
  move: Move
  /** Whether it begins and ends in black; otherwise its first frame is the still. */
  fades: boolean
}

function buildArguments(
  { still, width, height, seconds, move, fades }: VideoOptions,
  file: string,
): string[] {
  const frames = Math.round(seconds * framesPerSecond)
  const fade = Math.min(0.5, seconds / 6)
  const filters = [
    'scale=out_color_matrix=bt709:out_range=tv',
    'format=yuv420p',
    'loop=loop=-1:size=1:start=0',
    `setpts=N/${framesPerSecond}/TB`,
    toFilter(move, frames),
    `scale=${width}:${height}`,
    ...(fades ? [`fade=t=in:st=0:d=${fade}`, `fade=t=out:st=${(seconds - fade).toFixed(3)}:d=${fade}`] : []),
  ]
  return [
    ...'-hide_banner -loglevel error -nostats -progress pipe:1 -filter_threads 1'.split(' '),
    ...`-f rawvideo -pixel_format rgb24 -video_size ${still.width}x${still.height}`.split(' '),
    ...`-framerate ${framesPerSecond} -i pipe:0 -vf`.split(' '),
    filters.join(','),
    // One thread: the server has other work, and the same video comes out everywhere.
    ...`-frames:v ${frames} -an -c:v libx264 -profile:v main -preset veryfast -crf 18 -threads 1`.split(' '),
    ...'-color_range tv -colorspace bt709 -color_primaries bt709 -color_trc bt709'.split(' '),
    ...'-movflags +faststart -fflags +bitexact'.split(' '),
    file,
  ]
}

/** `onProgress` gets the share of the video that is done. An abort kills ffmpeg and rejects once it is gone. */
export async function encodeVideo(
  options: VideoOptions,
  signal: AbortSignal,
  onProgress: (share: number) => void,
): Promise<Uint8Array> {
  signal.throwIfAborted()
  // A file, because the index goes to the front only when everything else is written.
  const folder = await mkdtemp(join(tmpdir(), 'product-motion-'))
  try {
    const file = join(folder, 'video.mp4')
    const child = spawn(ffmpeg.path, buildArguments(options, file), { signal, killSignal: 'SIGKILL' })
    let failure: Error | undefined
    let complaint = ''
    const closed = new Promise<number | null>((resolve) => child.once('close', resolve))
    child.once('error', (error) => {
      failure = error
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint = (complaint + text).slice(-1000)
    })
    createInterface(child.stdout).on('line', (line) => {
      const frame = /^frame=\s*(\d+)/.exec(line)?.[1]
      if (frame) onProgress(Math.min(1, Number(frame) / framesPerSecond / options.seconds))
    })
    // ffmpeg's exit says more than a broken pipe.
    child.stdin.on('error', () => {}).end(options.still.data)
    const code = await closed
    if (failure) throw failure
    if (code !== 0) throw new Error(`ffmpeg ended with ${code}: ${complaint.trim()}`)
    return await readFile(file)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
