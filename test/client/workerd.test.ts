/** The client package in workerd, without Node's modules. */
import { expect, test } from 'vitest'
import { bundleScenario, expectMainJob, startWorker } from '../support/runtimes.ts'

const MAIN = `import { scenario } from './scenario.mjs'
export default { fetch: async (request) => Response.json(await scenario(await request.json())) }`

test('the main job in a Worker, on a connection that breaks', () =>
  expectMainJob(async (given) => {
    const ask = startWorker({ 'main.mjs': MAIN, 'scenario.mjs': await bundleScenario('esm') })
    const answer = await ask(JSON.stringify(given))
    const text = await answer.text()
    expect(answer.status, text).toBe(200)
    return JSON.parse(text)
  }))
