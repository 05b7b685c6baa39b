/** Runs in a thread of its own: cuts out products and renders pictures, one at a time, as it is told. */
import { parentPort } from 'node:worker_threads'
import sharp from 'sharp'
import { cutOut } from './cutout.ts'
import { type RenderOptions, render } from './render.ts'

export type Task = { kind: 'cut-out'; photo: Uint8Array } | { kind: 'render'; options: RenderOptions }

export type Answer = { value: unknown; error?: never } | { value?: never; error: string }

// Nothing is drawn twice, so a cache only costs memory.
sharp.cache(false)

const perform = (task: Task): Promise<unknown> =>
  task.kind === 'cut-out' ? cutOut(task.photo) : render(task.options)

parentPort?.on('message', (task: Task) => {
  perform(task).then(
    (value) => parentPort?.postMessage({ value } satisfies Answer),
    (error: unknown) => {
      const message = error instanceof Error ? error.message : String(error)
      parentPort?.postMessage({ error: message } satisfies Answer)
    },
  )
})
