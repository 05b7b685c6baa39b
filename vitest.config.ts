import { defineConfig } from 'vitest/config'
import { long } from './test/long.config.ts'

export default defineConfig({
  test: {
    include: ['{test,models}/**/*.test.ts'],
    exclude: ['**/node_modules/**', ...long],
    globalSetup: ['test/support/stack.ts'],
    // One stack serves all files; two files at a time is what two cores can do.
    maxWorkers: 2,
    testTimeout: 40_000,
    hookTimeout: 30_000,
  },
})
