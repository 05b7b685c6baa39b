/** The client package in the runtimes that it is for: Node 20, 22 and 24, Bun, Deno, and Chromium. */
import chromium from '@sparticuz/chromium'
import { chromium as browsers, type Request } from 'playwright-core'
import { expect, onTestFinished, test } from 'vitest'
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
      // Not the package's own arguments, which turn off what keeps origins apart. The API is on this machine, and the page as if from afar.
      args: ['--no-sandbox', '--disable-gpu', '--disable-features=LocalNetworkAccessChecks'],
      executablePath: await chromium.executablePath(),
      headless: true,
    })
    onTestFinished(() => browser.close())
    const page = await browser.newPage()
    await page.route(`${ORIGIN}/**`, (route) =>
      route.fulfill({ contentType: 'text/html', body: '<title>Shop</title>' }),
    )
    await page.goto(ORIGIN)
    const requests: Request[] = []
    page.on('request', (request) => requests.push(request))
    await page.addScriptTag({ content: await bundleScenario('iife') })
    const outcome = await page.evaluate(
      (value) =>
        (
          globalThis as unknown as { client: { scenario: (given: unknown) => Promise<never> } }
        ).client.scenario(value),
      given,
    )
    // Buckets name the origins that they answer, and none of them nobody (`null`), as whom redirects to storage are followed.
    const origins = await Promise.all(requests.map(async (request) => (await request.allHeaders()).origin))
    expect(new Set(origins.filter(Boolean))).toEqual(new Set([ORIGIN]))
    return outcome
  }))
