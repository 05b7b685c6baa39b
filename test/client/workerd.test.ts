/** The client package in workerd, without Node's modules. */
import { Miniflare } from 'miniflare'
import { expect, onTestFinished, test } from 'vitest'
import { bundleScenario, expectMainJob } from '../support/runtimes.ts'

const MAIN = `import { scenario } from './scenario.mjs'
export default { fetch: async (request) => Response.json(await scenario(await request.json())) }`

test('the main job in a Worker, on a connection that breaks', () =>
  expectMainJob(async (given) => {
    const worker = new Miniflare({
      cf: false,
      telemetry: { enabled: false },
      workers: [
        {
          config: {
            name: 'client',
            compatibilityDate: '2026-11-01',
            manifest: {
              mainModule: 'main.mjs',
              modulesRoot: '/',
              modules: {
                'main.mjs': { type: 'esm', contents: MAIN },
                'scenario.mjs': { type: 'esm', contents: await bundleScenario('esm') },
              },
            },
          },
        },
      ],
    })
    onTestFinished(() => worker.dispose())
    const answer = await worker.dispatchFetch('http://worker/', {
      method: 'POST',
      body: JSON.stringify(given),
    })
    const text = await answer.text()
    expect(answer.status, text).toBe(200)
    return JSON.parse(text)
  }))
