/** Runs in a thread of its own: cuts out products, renders and retouches pictures, one at a time, as it is told. */
import { parentPort } from 'node:worker_threads'
import sharp from 'sharp'
import { cutOut } from './cutout.ts'
import { type RenderOptions, render } from './render.ts'
import { type RetouchOptions, retouch } from './retouch.ts'
import { frameStill, type StillOptions } from './still.ts'

export type Task =
  | { kind: 'cut-out'; photo: Uint8Array }
  | { kind: 'render'; options: RenderOptions }
  | { kind: 'retouch'; options: RetouchOptions }
  | { kind: 'still'; options: StillOptions }

export type Answer = { value: unknown; error?: never } | { value?: never; error: string }

// Nothing is drawn twice, so a cache only costs memory.
sharp.cache(false)

const perform = (task: Task): Promise<unknown> => {
  switch (task.kind) {
    case 'cut-out':
      return cutOut(task.photo)
    case 'render':
      return render(task.options)
    case 'retouch':
      return retouch(task.options)
    case 'still':
      return frameStill(task.options)
  }
}

parentPort?.on('message', (task: Task) => {
  perform(task).then(
    (value) => parentPort?.postMessage({ value } satisfies Answer),
    (error: unknown) => {
      const message = error instanceof Error ? error.message : String(error)
      parentPort?.postMessage({ error: message } satisfies Answer)
    },
  )
})
