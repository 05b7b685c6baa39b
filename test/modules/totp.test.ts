/** One-time codes against the vectors of their RFCs, and the time around now that a code is good for. */
import { describe, expect, test } from 'vitest'
import { hotp, keyUri, stepAt, stepOf, toBase32 } from '../../src/auth/factors/totp.ts'

const secret = Buffer.from('12345678901234567890')

describe('one-time codes', () => {
  test('are those of RFC 4226, appendix D', () => {
    const codes = '755224 287082 359152 969429 338314 254676 287922 162583 399871 520489'.split(' ')
    expect(codes.map((_, counter) => hotp(secret, counter))).toEqual(codes)
  })

  test.each([
    [59, '94287082'],
    [1111111109, '07081804'],
    [1111111111, '14050471'],
    [1234567890, '89005924'],
    [2000000000, '69279037'],
    [20000000000, '65353130'],
  ])('at second %i is that of RFC 6238, appendix B', (seconds, code) => {
    expect(hotp(secret, stepAt(seconds * 1000), 8)).toBe(code)
  })

  test('are good one step before and after their own', () => {
    const now = 1_234_567_890_000
    const step = stepAt(now)
    const found = [-2, -1, 0, 1, 2].map((off) => stepOf(secret, hotp(secret, step + off), now))
    expect(found).toEqual([undefined, step - 1, step, step + 1, undefined])
    for (const other of ['', '1', '1234567', 'abcdef', '００００００'])
      expect(stepOf(secret, other, now)).toBe(undefined)
  })
})

test('base 32 is that of RFC 4648, section 10, without padding', () => {
  const texts = {
    '': '',
    f: 'MY',
    fo: 'MZXQ',
    foo: 'MZXW6',
    foob: 'MZXW6YQ',
    fooba: 'MZXW6YTB',
    foobar: 'MZXW6YTBOI',
  }
  for (const [text, encoded] of Object.entries(texts)) expect(toBase32(Buffer.from(text))).toBe(encoded)
})

test('a key URI names issuer and account, whatever is in them', () => {
  const uri = new URL(keyUri('shop.example', 'a+b:c/d@example.com', 'MZXW6'))
  expect([uri.protocol, uri.host]).toEqual(['otpauth:', 'totp'])
  expect(decodeURIComponent(uri.pathname)).toBe('/shop.example:a+b:c/d@example.com')
  expect(Object.fromEntries(uri.searchParams)).toEqual({
    secret: 'MZXW6',
    issuer: 'shop.example',
    algorithm: 'SHA1',
    digits: '6',
    period: '30',
  })
})
