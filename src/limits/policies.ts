/** The rate limits: whose requests they count, how many per period, and what an unreachable limiter means. */
import type { Plan } from '../words.ts'

export interface Policy {
  /** Requests per period; also the burst. */
  limit: number
  /** Seconds. */
  period: number
  by: 'ip' | 'email' | 'device' | 'user' | 'caller' | 'workspace'
  /** The workspace's plan multiplies the limit. */
  perPlan: boolean
  /** What happens without the limiter: sign-in and what costs money are refused. */
  unreachable: 'pass' | 'refuse'
  /** Whether an isolate may hold some tokens for a moment, so that not every request asks the limiter. */
  isLeased?: boolean
  /** Counts what fails: a request that goes well gives its token back. */
  failuresOnly?: boolean
}

export const policies = {
  'register-ip': { limit: 20, period: 60, by: 'ip', perPlan: false, unreachable: 'refuse' },
  // Signing in by password: strangers' guesses by network and address, and apart from them those of a device that has signed
  // in to the account before, which passes whatever strangers do.
  'login-ip': { limit: 30, period: 60, by: 'ip', perPlan: false, unreachable: 'refuse' },
  'login-ip-hour': {
    limit: 300,
    period: 3600,
    by: 'ip',
    perPlan: false,
    unreachable: 'refuse',
    failuresOnly: true,
  },
  'login-ip-day': {
    limit: 1000,
    period: 86_400,
    by: 'ip',
    perPlan: false,
    unreachable: 'refuse',
    failuresOnly: true,
  },
  'login-email': { limit: 10, period: 60, by: 'email', perPlan: false, unreachable: 'refuse' },
  'login-email-hour': {
    limit: 30,
    period: 3600,
    by: 'email',
    perPlan: false,
    unreachable: 'refuse',
    failuresOnly: true,
  },
  'login-email-day': {
    limit: 100,
    period: 86_400,
    by: 'email',
    perPlan: false,
    unreachable: 'refuse',
    failuresOnly: true,
  },
  'login-device': { limit: 10, period: 60, by: 'device', perPlan: false, unreachable: 'refuse' },
  'login-device-day': {
    limit: 50,
    period: 86_400,
    by: 'device',
    perPlan: false,
    unreachable: 'refuse',
    failuresOnly: true,
  },
  // Nobody guesses a passkey.
  'passkey-ip': { limit: 60, period: 60, by: 'ip', perPlan: false, unreachable: 'refuse' },
  'refresh-ip': { limit: 120, period: 60, by: 'ip', perPlan: false, unreachable: 'pass' },
  // Keys that this isolate has not seen in force lately.
  'key-ip': { limit: 120, period: 60, by: 'ip', perPlan: false, unreachable: 'pass' },
  // Guesses of a second factor's codes: of a million, each is right for a minute and a half.
  'second-factor': { limit: 10, period: 60, by: 'user', perPlan: false, unreachable: 'refuse' },
  'second-factor-day': {
    limit: 50,
    period: 86_400,
    by: 'user',
    perPlan: false,
    unreachable: 'refuse',
    failuresOnly: true,
  },
  // All of somebody's together, more than a known device, strangers and open sessions use up at once.
  'second-factor-person': {
    limit: 300,
    period: 86_400,
    by: 'user',
    perPlan: false,
    unreachable: 'refuse',
    failuresOnly: true,
  },
  'second-factor-ip': { limit: 60, period: 60, by: 'ip', perPlan: false, unreachable: 'refuse' },
  'reset-ip': { limit: 10, period: 60, by: 'ip', perPlan: false, unreachable: 'refuse' },
  'reset-email': { limit: 5, period: 3600, by: 'email', perPlan: false, unreachable: 'refuse' },
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
