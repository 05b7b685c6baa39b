/**
 * `npm run secrets`: new values for ACCESS_TOKEN_KEYS, GATE_KEY, WEBHOOK_SIGNING_KEY and AUTH_SECRET, for .dev.vars or `wrangler secret put`.
 * With ACCESS_TOKEN_KEYS in the environment the new key goes in front of those, which is how keys are rotated; the other
 * secrets, which hold on as they are, are left out then.
 */
import { randomBytes } from 'node:crypto'
import { exportJWK, generateKeyPair } from 'jose'

const { privateKey } = await generateKeyPair('EdDSA', { extractable: true })
const { kty, crv, d, x } = await exportJWK(privateKey)
const kid = `${new Date().toISOString().slice(0, 10)}-${randomBytes(3).toString('hex')}`
const before: object[] = JSON.parse(process.env.ACCESS_TOKEN_KEYS ?? '[]')
console.log(`ACCESS_TOKEN_KEYS='${JSON.stringify([{ kty, crv, kid, d, x }, ...before])}'`)
for (const name of before.length > 0 ? [] : ['GATE_KEY', 'WEBHOOK_SIGNING_KEY', 'AUTH_SECRET']) {
  console.log(`${name}=${randomBytes(32).toString('base64url')}`)
}
