/**
 * `npm run secrets`: new values for ACCESS_TOKEN_KEYS, GATE_KEY, WEBHOOK_SIGNING_KEY and AUTH_SECRET, for .dev.vars or `wrangler secret put`.
 * With ACCESS_TOKEN_KEYS in the environment the new key goes in front of those, which is how keys are rotated.
 */
import { randomBytes } from 'node:crypto'
import { exportJWK, generateKeyPair } from 'jose'

const { privateKey } = await generateKeyPair('EdDSA', { extractable: true })
const { kty, crv, d, x } = await exportJWK(privateKey)
const kid = `${new Date().toISOString().slice(0, 10)}-${randomBytes(3).toString('hex')}`
const before = JSON.parse(process.env.ACCESS_TOKEN_KEYS ?? '[]') as object[]
console.log(`ACCESS_TOKEN_KEYS='${JSON.stringify([{ kty, crv, kid, d, x }, ...before])}'`)
console.log(`GATE_KEY=${randomBytes(32).toString('base64url')}`)
console.log(`WEBHOOK_SIGNING_KEY=${randomBytes(32).toString('base64url')}`)
console.log(`AUTH_SECRET=${randomBytes(32).toString('base64url')}`)
