/** The rate limits: whose requests they count, how many per period, and what an unreachable limiter means. */
import type { Plan } from '../words.ts'

export interface Policy {
  /** Requests per period; also the burst. */
  limit: number
  /** Seconds. */
  period: number
  by: 'ip' | 'email' | 'ip and email' | 'device' | 'device-ip' | 'user' | 'caller' | 'workspace'
  /** The workspace's plan multiplies the limit. */
  perPlan: boolean
  /** What happens without the limiter: sign-in and what costs money are refused. */
  unreachable: 'pass' | 'refuse'
  /** Whether an isolate may hold some tokens for a moment, so that not every request asks the limiter. */
  isLeased?: boolean
  /** Counts what fails: a request that goes well gives its token back. */
  failuresOnly?: boolean
}

/** Of sign-in, over hours and days. */
const failures = (limit: number, period: number, by: Policy['by']): Policy => ({
  limit,
  period,
  by,
  perPlan: false,
  unreachable: 'refuse',
  failuresOnly: true,
})

export const policies = {
  'register-ip': { limit: 20, period: 60, by: 'ip', perPlan: false, unreachable: 'refuse' },
  // Signing in by password: strangers' guesses by network and address, and apart from them those of a device that has signed
  // in to the account before, which passes whatever strangers do.
  'login-ip': { limit: 30, period: 60, by: 'ip', perPlan: false, unreachable: 'refuse' },
  'login-ip-hour': failures(300, 3600, 'ip'),
  'login-ip-day': failures(1000, 86_400, 'ip'),
  'login-email': { limit: 10, period: 60, by: 'email', perPlan: false, unreachable: 'refuse' },
  'login-email-hour': failures(30, 3600, 'email'),
  'login-email-day': failures(100, 86_400, 'email'),
  'login-device': { limit: 10, period: 60, by: 'device', perPlan: false, unreachable: 'refuse' },
  'login-device-day': failures(50, 86_400, 'device'),
  // Each sign-in without a token makes another known device, and all of them ask the same few hashers.
  'login-device-ip': { limit: 300, period: 60, by: 'device-ip', perPlan: false, unreachable: 'refuse' },
  // Nobody guesses a passkey.
  'passkey-ip': { limit: 60, period: 60, by: 'ip', perPlan: false, unreachable: 'refuse' },
  'refresh-ip': { limit: 120, period: 60, by: 'ip', perPlan: false, unreachable: 'pass' },
  // Keys that this isolate has not seen in force lately.
  'key-ip': { limit: 120, period: 60, by: 'ip', perPlan: false, unreachable: 'pass' },
  // Guesses of a second factor's codes: of a million, each is right for a minute and a half.
  'second-factor': { limit: 10, period: 60, by: 'user', perPlan: false, unreachable: 'refuse' },
  'second-factor-day': failures(50, 86_400, 'user'),
  // All of somebody's together, more than a known device, strangers and open sessions use up at once.
  'second-factor-person': failures(300, 86_400, 'user'),
  'second-factor-ip': { limit: 60, period: 60, by: 'ip', perPlan: false, unreachable: 'refuse' },
  // What somebody proves themselves by from now on, each with a mail. Removing is not limited: there is no more of it.
  factor: { limit: 20, period: 86_400, by: 'caller', perPlan: false, unreachable: 'refuse' },
  // Not by address alone, or strangers could keep its owner from asking. What they ask for has been mailed there (app.owe_mail).
  'reset-ip': { limit: 10, period: 60, by: 'ip', perPlan: false, unreachable: 'refuse' },
  'reset-ip-day': { limit: 100, period: 86_400, by: 'ip', perPlan: false, unreachable: 'refuse' },
  'reset-email': { limit: 5, period: 3600, by: 'ip and email', perPlan: false, unreachable: 'refuse' },
  // Of a device that has signed in to the address before, whatever others of its network ask for.
  'reset-device': { limit: 5, period: 3600, by: 'device', perPlan: false, unreachable: 'refuse' },
  // Links and codes that came by mail, from whoever has them.
  'token-ip': { limit: 20, period: 60, by: 'ip', perPlan: false, unreachable: 'refuse' },
  email: { limit: 5, period: 3600, by: 'caller', perPlan: false, unreachable: 'refuse' },
  'email-code': { limit: 10, period: 60, by: 'caller', perPlan: false, unreachable: 'refuse' },
  password: { limit: 10, period: 60, by: 'caller', perPlan: false, unreachable: 'refuse' },
  api: { limit: 1200, period: 60, by: 'caller', perPlan: false, unreachable: 'pass', isLeased: true },
  invite: { limit: 20, period: 3600, by: 'workspace', perPlan: false, unreachable: 'refuse' },
  'audit-verify': { limit: 10, period: 60, by: 'workspace', perPlan: false, unreachable: 'pass' },
  upload: { limit: 120, period: 60, by: 'workspace', perPlan: true, unreachable: 'pass', isLeased: true },
  check: { limit: 60, period: 60, by: 'workspace', perPlan: true, unreachable: 'pass' },
  export: { limit: 60, period: 60, by: 'workspace', perPlan: true, unreachable: 'pass' },
  generation: {
    limit: 60,
    period: 60,
    by: 'workspace',
    perPlan: true,
    unreachable: 'refuse',
    isLeased: true,
  },
} as const satisfies Record<string, Policy>

export type PolicyName = keyof typeof policies

export const planFactors: Record<Plan, number> = { free: 1, pro: 5, enterprise: 20 }
