/** Two threads that render, so that parallel predictions neither exhaust the machine nor hold up the server. */
import { createHash } from 'node:crypto'
import { Worker } from 'node:worker_threads'
import { createLimiter } from '../limiter.ts'
import type { Cutout } from './cutout.ts'
import type { RenderOptions } from './render.ts'
import type { RetouchOptions } from './retouch.ts'
import type { StillOptions } from './still.ts'
import type { Answer, Task } from './worker.ts'

const maxThreads = 2
const maxCutouts = 8

export interface Studio {
  /** Rejects when the bytes aren't an image that can be read. */
  cutOut(photo: Uint8Array): Promise<Cutout>
  render(options: RenderOptions): Promise<Uint8Array>
  /** Rejects like `cutOut`. */
  retouch(options: RetouchOptions): Promise<Uint8Array>
  /** The photo as the first picture of a film, three bytes a pixel. Rejects like `cutOut`. */
  still(options: StillOptions): Promise<Uint8Array>
  /** Call it when nothing is being rendered any more. */
  stop(): Promise<void>
}

export function createStudio(): Studio {
  const limit = createLimiter(maxThreads)
  const idle: Worker[] = []
  const cutouts = new Map<string, Promise<Cutout>>()

  const hire = (): Worker => {
    const worker = idle.pop() ?? new Worker(new URL('./worker.ts', import.meta.url))
    worker.ref()
    return worker
  }

  const perform = (task: Task): Promise<unknown> =>
    limit(async () => {
      const worker = hire()
      const { promise, resolve, reject } = Promise.withResolvers<unknown>()
      const onExit = (): void => reject(new Error('The rendering thread ended.'))
      worker.once('message', ({ value, error }: Answer) =>
        error === undefined ? resolve(value) : reject(new Error(error)),
      )
      worker.once('error', reject)
      worker.once('exit', onExit)
      worker.postMessage(task)
      try {
        return await promise
      } finally {
        worker.removeAllListeners('message').removeAllListeners('error').removeAllListeners('exit')
        worker.unref()
        if (worker.threadId > 0) idle.push(worker)
      }
    })

  return {
    cutOut(photo) {
      // A merchant asks for many pictures of one photo.
      const key = createHash('sha256').update(photo).digest('base64')
      const cutout = cutouts.get(key) ?? (perform({ kind: 'cut-out', photo }) as Promise<Cutout>)
      cutouts.delete(key)
      cutouts.set(key, cutout)
      for (const oldest of cutouts.keys()) if (cutouts.size > maxCutouts) cutouts.delete(oldest)
      return cutout
    },
    render: (options) => perform({ kind: 'render', options }) as Promise<Uint8Array>,
    retouch: (options) => perform({ kind: 'retouch', options }) as Promise<Uint8Array>,
    still: (options) => perform({ kind: 'still', options }) as Promise<Uint8Array>,
    async stop() {
      await Promise.all(idle.splice(0).map((worker) => worker.terminate()))
    },
  }
}
