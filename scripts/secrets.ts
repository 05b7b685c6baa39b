/**
 * `npm run secrets`: new values for ACCESS_TOKEN_KEYS, FACTOR_KEYS, AUDIT_SIGNING_KEY, GATE_KEY, WEBHOOK_SIGNING_KEY and AUTH_SECRET, for
 * .dev.vars or `wrangler secret put`. With ACCESS_TOKEN_KEYS or FACTOR_KEYS in the environment the new key goes in front of those,
 * and with AUDIT_SIGNING_KEY the public part of that one goes in front of AUDIT_RETIRED_KEYS, which is how keys are rotated;
 * other secrets, which hold on as they are, are left out then.
 */
import { randomBytes } from 'node:crypto'
import { exportJWK, generateKeyPair } from 'jose'

const newKid = () => `${new Date().toISOString().slice(0, 10)}-${randomBytes(3).toString('hex')}`

const newKey = async () => {
  const { privateKey } = await generateKeyPair('EdDSA', { extractable: true })
  return { kid: newKid(), ...(await exportJWK(privateKey)) }
}

const newSecretKey = () => ({ kid: newKid(), kty: 'oct', k: randomBytes(32).toString('base64url') })

const {
  ACCESS_TOKEN_KEYS = '[]',
  FACTOR_KEYS = '[]',
  AUDIT_SIGNING_KEY,
  AUDIT_RETIRED_KEYS = '[]',
} = process.env
const rotates = ACCESS_TOKEN_KEYS !== '[]' || FACTOR_KEYS !== '[]' || AUDIT_SIGNING_KEY !== undefined
if (ACCESS_TOKEN_KEYS !== '[]' || !rotates)
  console.log(`ACCESS_TOKEN_KEYS='${JSON.stringify([await newKey(), ...JSON.parse(ACCESS_TOKEN_KEYS)])}'`)
if (FACTOR_KEYS !== '[]' || !rotates)
  console.log(`FACTOR_KEYS='${JSON.stringify([newSecretKey(), ...JSON.parse(FACTOR_KEYS)])}'`)
if (AUDIT_SIGNING_KEY || !rotates) console.log(`AUDIT_SIGNING_KEY='${JSON.stringify(await newKey())}'`)
if (AUDIT_SIGNING_KEY) {
  const { d: _, ...retired } = JSON.parse(AUDIT_SIGNING_KEY)
  console.log(`AUDIT_RETIRED_KEYS='${JSON.stringify([retired, ...JSON.parse(AUDIT_RETIRED_KEYS)])}'`)
}
for (const name of rotates ? [] : ['GATE_KEY', 'WEBHOOK_SIGNING_KEY', 'AUTH_SECRET']) {
  console.log(`${name}=${randomBytes(32).toString('base64url')}`)
}
