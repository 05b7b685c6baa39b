/** Walks through storage in tests: the next one is due, and how the last one ended. */
import type { Rig } from '../../dev/rig/rig.ts'
import { waitFor } from './wait-for.ts'

/** What a walk came to, as the Worker's own types have it, which belong to its runtime. */
export interface WalkReport {
  startedAt: number
  endedAt: number
  keys: number
  objects: number
  withoutRow: number
  withoutObject: number
  isTrusted: boolean
}

export const walksOf = (rig: Rig) => {
  const sweeper = <T>(method: string, ...parameters: unknown[]) =>
    rig.callObject<T>('SWEEPER', 'sweeper', method, ...parameters)
  return {
    sweeper,
    /** The next one is due, from its beginning. */
    makeDue: async () => {
      const nothing = { keys: 0, objects: 0, withoutRow: 0, withoutObject: 0 }
      const report: WalkReport = { startedAt: 0, endedAt: 0, ...nothing, isTrusted: true }
      for (let turn = 0; !(await sweeper('keepWalk', turn, report)); turn++);
      for (let turn = 0; turn < 1000; turn++) await sweeper('leaveWalk', turn)
    },
    ended: () =>
      waitFor(
        'the walk is over',
        async () => {
          await rig.scheduled()
          const report = await sweeper<WalkReport | null>('lastWalk')
          return report !== null && report.startedAt > 0 && report
        },
        60_000,
      ),
  }
}
