/** Which URLs webhooks are sent to: public ones only, unless a setting allows others. */
import { expect, test } from 'vitest'

const { problemOfTarget } = await import(new URL('../../src/webhooks/targets.ts', import.meta.url).href)
const env = {
  WEBHOOK_TARGETS: 'public',
  PUBLIC_URL: 'https://api.merchant.shop',
  S3_ENDPOINT: 'https://account.r2.cloudflarestorage.com/bucket',
}

test.each([
  'https://hooks.merchant.shop/path?query=1',
  'https://hooks.merchant.shop:443/',
  'https://8.8.8.8/',
  'https://172.32.0.1/',
  'https://100.128.0.1/',
  'https://例え.jp/',
])('allows %s', (url) => {
  expect(problemOfTarget(env, url)).toBeUndefined()
})

test.each([
  'nothing',
  'http://hooks.merchant.shop/',
  'ftp://hooks.merchant.shop/',
  'javascript:alert(1)',
  'https://user:password@hooks.merchant.shop/',
  'https://api.merchant.shop/',
  'https://API.merchant.shop./',
  'https://account.r2.cloudflarestorage.com/bucket/x',
  'https://localhost/',
  'https://a.localhost/',
  'https://intranet/',
  'https://printer.local/',
  'https://metadata.google.internal/',
  'https://127.0.0.1/',
  'https://127.1/',
  'https://2130706433/',
  'https://0x7f000001/',
  'https://0177.0.0.1/',
  'https://0.0.0.0/',
  'https://10.1.2.3/',
  'https://172.16.0.1/',
  'https://172.31.255.255/',
  'https://192.168.1.1/',
  'https://169.254.169.254/latest/meta-data',
  'https://100.64.0.1/',
  'https://198.18.0.1/',
  'https://224.0.0.1/',
  'https://255.255.255.255/',
  'https://[::1]/',
  'https://[::ffff:127.0.0.1]/',
  'https://[fd00::1]/',
  'https://hooks.merchant.shop:22/',
  'https://hooks.merchant.shop:6379/',
  'https://hooks.merchant.shop:8443/',
  'https://hooks.merchant.shop:80/',
  'https://hooks.merchant.shop:0/',
  'https://kubernetes.default.svc/',
  'https://kubernetes.default.svc.cluster.local/',
  'https://192.88.99.1/',
  'https://192.0.2.1/',
  'https://..',
  'https://../',
  'https://hooks..shop/',
])('refuses %s', (url) => {
  expect(problemOfTarget(env, url)).toBeTypeOf('string')
})

test('allows any address by http or https, and no other protocol, where the setting says so', () => {
  const local = { ...env, WEBHOOK_TARGETS: 'any' }
  expect(problemOfTarget(local, 'http://127.0.0.1:9/')).toBeUndefined()
  expect(problemOfTarget(local, 'file:///etc/passwd')).toBeTypeOf('string')
})
