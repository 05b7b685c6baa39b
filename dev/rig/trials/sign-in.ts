/** What people who sign in cost those who read meanwhile: each sign-in hashes a password. */
import type { Build } from './build.ts'
import { PASSWORD, percentile } from './tenants.ts'

const PEOPLE = 10
const ROUNDS = 3
const READS = 200

/** Milliseconds: the 95th percentile of `GET /auth/me` one after another while nobody signs in, and while ten do. */
export const timeReadsBesideSignIns = async ({ rig, read }: Build) => {
  const time = async () => {
    const started = performance.now()
    await read(() => '/auth/me')
    return performance.now() - started
  }
  const signIn = async (number: number, round: number) => {
    const { ok, status } = await fetch(`${rig.url}/api/v1/auth/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'cf-connecting-ip': `198.51.100.${round}` },
      body: JSON.stringify({ email: `trial-${number}@example.com`, password: PASSWORD }),
    })
    if (!ok) throw new Error(`sign-in answered ${status}`)
  }
  const quiet: number[] = []
  for (let i = 0; i < READS; i++) quiet.push(await time())
  const beside: number[] = []
  const signIns: number[] = []
  for (let round = 0; round <= ROUNDS; round++) {
    const started = performance.now()
    let areDone = false
    const all = Promise.all(
      Array.from({ length: PEOPLE }, async (_, number) => {
        await signIn(number, round)
        if (round > 0) signIns.push(performance.now() - started)
      }),
    ).finally(() => {
      areDone = true
    })
    // The first round is for warming up.
    while (!areDone) {
      const taken = await time()
      if (round > 0) beside.push(taken)
    }
    await all
  }
  return {
    quiet: percentile(quiet, 0.95),
    beside: percentile(beside, 0.95),
    signIn: percentile(signIns, 0.95),
    reads: beside.length,
  }
}
