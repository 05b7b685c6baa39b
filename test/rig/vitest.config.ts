/** The edge rig's own tests: `npm run test:rig`. They start several stacks, which takes a minute. */
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/rig/*.test.ts'],
    globalSetup: ['test/support/stack.ts'],
    maxWorkers: 1,
    testTimeout: 60_000,
    hookTimeout: 90_000,
  },
})
