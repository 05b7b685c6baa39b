import { defineConfig } from 'vitest/config'
import { long } from './test/long.config.ts'

export default defineConfig({
  test: {
    include: ['{test,models}/**/*.test.ts'],
    exclude: ['**/node_modules/**', ...long],
    globalSetup: ['test/support/stack.ts'],
    // One stack serves all files; many tests wait, so three at a time keep two cores busy.
    maxWorkers: 3,
    isolate: false,
    testTimeout: 40_000,
    hookTimeout: 30_000,
  },
})
