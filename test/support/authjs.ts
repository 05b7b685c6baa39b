/** Cookies of an Auth.js front end, made by Auth.js itself. */
import { encode } from '@auth/core/jwt'
import { secrets } from './tokens.ts'

const NAME = 'authjs.session-token'

/** Somebody at a provider, who has or has not verified that address. */
export const newCookie = async (
  email: string,
  emailVerified: boolean,
  providerAccountId: string = crypto.randomUUID(),
) => {
  const token = { sub: 'x', email, emailVerified, provider: 'google', providerAccountId }
  return `${NAME}=${await encode({ token, secret: secrets.AUTH_SECRET ?? '', salt: NAME, maxAge: 3600 })}`
}
