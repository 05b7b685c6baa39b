/** `npm run rig`: the edge rig by hand, with the sample account; Ctrl-C stops it. */
import { SAMPLE, seed } from '../seed.ts'
import { startRig } from './rig.ts'

const rig = await startRig()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  // Wrangler's own handler would exit before the rest is stopped.
  process.removeAllListeners(signal).on(signal, () => void rig.stop().then(() => process.exit()))
}
await seed(rig.url, rig.mail.url)
console.log(`
  API       ${rig.url}/api/v1
  Processes ${rig.api.map(({ name, url }) => `${name} ${url()}`).join(', ')}
  Database  ${rig.stack.database.describe}
  Models    ${rig.stack.models.origin}
  Inbox     ${rig.mail.url}
  Logs      ${rig.api.map(({ logPath }) => logPath).join(', ')}

  Sample    ${SAMPLE.email} / ${SAMPLE.password}
`)
