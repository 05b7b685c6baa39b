/** How people prove themselves by a factor: what has to be known of it, whether it is right, and that it is used up. */
import { and, eq, inArray, isNotNull, isNull, lt, or, type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../../context.ts'
import { type Database, ensure } from '../../db/client.ts'
import { recoveryCodes, totpSecrets } from '../../db/schema.ts'
import { exists } from '../../db/sql.ts'
import { AppError } from '../../errors.ts'
import { type Assertion, type KnownPasskey, selectPasskey, verifyAssertion } from './passkeys.ts'
import { decrypt, encrypt, hashesOfRecoveryCode, isCurrent } from './secrets.ts'
import { stepOf } from './totp.ts'

/** One of them: a code of the app or for recovery, or what a passkey has signed. */
export interface Proof {
  code?: string | undefined
  passkey?: Assertion | undefined
}

interface Known {
  totp: { secret: string }[]
  passkey: KnownPasskey[]
}

/** Statements: what `verifyProof` has to know of a person. */
export const selectFactors = (db: Database, { passkey }: Proof, userId: SQL | string) => ({
  totp: db
    .select({ secret: totpSecrets.secret })
    .from(totpSecrets)
    .where(and(eq(totpSecrets.userId, userId), isNotNull(totpSecrets.confirmedAt))),
  passkey: selectPasskey(db, passkey?.id ?? '', userId),
})

/** Statements that use a proof up, or refuse the transaction. */
type Consume = (db: Database) => Record<string, ReturnType<typeof ensure>>

/** A proof that is right: how it is used up, and what of it is stored anew. */
export interface Verified {
  consume: Consume
  seals?: string[] | undefined
}

/** @throws {AppError} invalid_code, invalid_passkey */
export const verifyProof = async (
  ctx: Ctx,
  proof: Proof,
  userId: string,
  { totp: [totp], passkey: [passkey] }: Known,
): Promise<Verified> => {
  if (proof.passkey) return { consume: await verifyAssertion(ctx, proof.passkey, passkey) }
  const { code = '' } = proof
  if (/^\d{6}$/.test(code)) return verifyTotp(ctx, code, userId, totp)
  const hashes = hashesOfRecoveryCode(ctx.env, userId, code)
  if (hashes.length === 0) throw new AppError('invalid_code')
  const isThis = and(eq(recoveryCodes.userId, userId), inArray(recoveryCodes.codeHash, hashes))
  const consume: Consume = (db) => ({
    unused: ensure(db, exists(recoveryCodes, isThis, 'for update'), 'invalid_code'),
    used: db.execute(sql`delete from recovery_codes where ${isThis}`),
  })
  return { consume }
}

/** A secret that was encrypted with a former key is encrypted with the one in front. */
const verifyTotp = (
  { env }: Ctx,
  code: string,
  userId: string,
  totp: Known['totp'][number] | undefined,
): Verified => {
  if (!totp) throw new AppError('invalid_code')
  const secret = decrypt(env, userId, totp.secret)
  const step = stepOf(secret, code, Date.now())
  if (step === undefined) throw new AppError('invalid_code')
  const renewed = isCurrent(env, totp.secret) ? undefined : encrypt(env, userId, secret)
  const isNew = and(
    eq(totpSecrets.userId, userId),
    eq(totpSecrets.secret, totp.secret),
    or(isNull(totpSecrets.lastStep), lt(totpSecrets.lastStep, step)),
  )
  const consume: Consume = (db) => ({
    fresh: ensure(db, exists(totpSecrets, isNew, 'for update'), 'invalid_code'),
    used: db.execute(
      sql`update totp_secrets set last_step = ${step}${renewed && sql`, secret = ${renewed}`} where user_id = ${userId}`,
    ),
  })
  return { consume, seals: renewed ? [renewed] : undefined }
}
