/** The client package in the runtimes that it is for: Node 20, 22 and 24, Bun, Deno, and Chromium. */
import chromium from '@sparticuz/chromium'
import { chromium as browsers } from 'playwright-core'
import { onTestFinished, test } from 'vitest'
import { bundleScenario, expectMainJob, runProcess } from '../support/runtimes.ts'

const byPackage = (name: string, program: string, ...args: string[]) =>
  ['npm', ['exec', '--yes', `--package=${name}`, '--', program, ...args]] as const

test.each([
  ['Node 20', ...byPackage('node@20', 'node')],
  ['Node 22', ...byPackage('node@22', 'node')],
  ['Node 24', process.execPath, []],
  ['Bun', ...byPackage('bun@1', 'bun')],
  ['Deno', ...byPackage('deno@2', 'deno', 'run', '--allow-net')],
] as const)('the main job on %s, which then ends', (_, command, args) =>
  expectMainJob((given) => runProcess(command, [...args], given)),
)

/** Of the front end that the stack allows. */
const ORIGIN = 'http://localhost:3000'

test('the main job in Chromium, from another origin', () =>
  expectMainJob(async (given) => {
    const browser = await browsers.launch({
      args: chromium.args,
      executablePath: await chromium.executablePath(),
      headless: true,
    })
    onTestFinished(() => browser.close())
    const page = await browser.newPage()
    await page.route(`${ORIGIN}/**`, (route) =>
      route.fulfill({ contentType: 'text/html', body: '<title>Shop</title>' }),
    )
    await page.goto(ORIGIN)
    await page.addScriptTag({ content: await bundleScenario('iife') })
    return page.evaluate(
      (value) =>
        (
          globalThis as unknown as { client: { scenario: (given: unknown) => Promise<never> } }
        ).client.scenario(value),
      given,
    )
  }))
