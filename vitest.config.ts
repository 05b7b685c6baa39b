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
    // 2,700 tests against the clock of one machine: what fails once in a thousand runs is named (`retry x1`), not final.
    retry: process.env.CI ? 1 : 0,
    testTimeout: 40_000,
    hookTimeout: 30_000,
  },
})
