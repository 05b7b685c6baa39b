/** `npm run test:long`: tests that start several stacks and end their processes, those of a whole rig, and what waits a minute. */
import { defineConfig } from 'vitest/config'

/** Left out by `npm test`. */
export const long = [
  'test/client/comparison.test.ts',
  'test/client/large.test.ts',
  'test/client/runtimes.test.ts',
  'test/rig/*.test.ts',
  'test/auth/browser.test.ts',
  'test/credits/farm.test.ts',
  'test/credits/free-budget.test.ts',
  'test/events/lost-event.test.ts',
  'test/generations/faults-restart.test.ts',
  'test/generations/faults.test.ts',
  'test/generations/inputs.test.ts',
  'test/generations/provider-answers.test.ts',
  'test/providers/operator.test.ts',
  'test/providers/patience.test.ts',
  'test/providers/requests.test.ts',
  'test/stack/keep-up.test.ts',
  'test/stack/restart.test.ts',
]

export default defineConfig({
  test: {
    include: long,
    globalSetup: ['test/support/stack.ts'],
    maxWorkers: 1,
    testTimeout: 60_000,
    hookTimeout: 90_000,
  },
})
