/** Every table, with its row-level security policies; migrations are generated from this file. */
import { sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  check,
  date,
  foreignKey,
  index,
  integer,
  jsonb,
  numeric,
  pgPolicy,
  pgRole,
  pgTable,
  primaryKey,
  real,
  text,
  timestamp,
  unique,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core'
import { type Action, keyScopes } from '../actions.ts'
import type { Failure } from '../providers/failures.ts'
import {
  type AspectRatio,
  actorTypes,
  assetKinds,
  assetSources,
  assetStatuses,
  channels,
  creditKinds,
  deliveryStatuses,
  type ExportRefusal,
  eventTypes,
  exportStatuses,
  type GenerationError,
  type GenerationPhase,
  generationKinds,
  generationStatuses,
  jobKinds,
  languages,
  mailKinds,
  mailStatuses,
  type Operation,
  type PreparedInput,
  plans,
  providerJobStatuses,
  providerNames,
  type Role,
  roles,
  type SentInput,
  type StoredOutput,
  type Style,
  stores,
  tasks,
} from '../words.ts'

/** Runs everything that is done for a caller; sees one workspace at a time. */
const tenant = pgRole('app_tenant').existing()
/** Runs sign-in, the sweeper and the gate; holds only the grants it needs. */
const system = pgRole('app_system').existing()
/** Owns what jobs live by (`migrations/0007_jobs.sql`), and is reached through that only. */
const jobs = pgRole('app_jobs').existing()
/** Owns the functions that see more than their callers. */
const gate = pgRole('app_gate').existing()
/** Owns `app.prune` and `app.purge_workspace`, and is reached through them only. */
const retention = pgRole('app_retention').existing()

/** The workspace and user of the current transaction, set by the gate; null outside it. */
export const currentWorkspaceId = sql`app.workspace_id()`
export const currentUserId = sql`app.user_id()`
/** Who acts, as type and id, such as `user:…` or `api_key:…`. */
export const currentActor = sql`(app.context() ->> 'actor')`

const inWorkspace = sql`workspace_id = (select app.workspace_id())`
/** Evaluated once per statement, and false for every row when the gate was not passed. */
const tenantOnly = pgPolicy('tenant', { for: 'all', to: tenant, using: inWorkspace, withCheck: inWorkspace })
/** SQL: the gate let the caller in as this, or more. */
const isAtLeast = (role: Role) => sql.raw(`(select app.own_rank() >= app.role_rank('${role}'))`)
/** SQL: a role of at most the caller's own. */
const isNotAbove = sql`app.role_rank(role) <= (select app.own_rank())`
const isOwn = (column: string) => sql.raw(`${column} = (select app.user_id())`)
const ownOnly = pgPolicy('tenant', {
  for: 'all',
  to: tenant,
  using: isOwn('user_id'),
  withCheck: isOwn('user_id'),
})
/** Narrows `tenantOnly`: what the API lets nobody below an admin do, the database does not either. */
const adminsOnly = pgPolicy('admin', { as: 'restrictive', for: 'all', to: tenant, using: isAtLeast('admin') })
/** What a job does that names no action: a request always has one. */
const JOB = ''
/** SQL: the gate let the caller in for one of these, and so asked for the role or the scope that it takes. */
const isFor = (...actions: (Action | typeof JOB)[]) =>
  sql.raw(`coalesce((select app.context() ->> 'action'), '') in ('${actions.join("', '")}')`)
/** Reading the audit log; a refusal that is recorded looks whether it has been. */
const auditors = sql`${inWorkspace} and ${isFor('audit.list', 'audit.export', 'audit.verify', 'checkpoint.list', 'access.refuse')}`
/** Narrows a policy: what proves somebody, lets them in, or leaves an audit row, is written behind the gate of these actions only. */
const onlyFor = (command: 'insert' | 'update' | 'delete', ...actions: (Action | typeof JOB)[]) => {
  const isThat = isFor(...actions)
  return pgPolicy(`${command}_action`, {
    as: 'restrictive',
    for: command,
    to: tenant,
    ...(command !== 'insert' && { using: isThat }),
    ...(command !== 'delete' && { withCheck: isThat }),
  })
}
const systemToo = pgPolicy('system', { for: 'all', to: system, using: sql`true`, withCheck: sql`true` })
const jobsToo = pgPolicy('jobs', { for: 'all', to: jobs, using: sql`true`, withCheck: sql`true` })
const gateOnly = pgPolicy('gate', { for: 'all', to: gate, using: sql`true`, withCheck: sql`true` })
const pruned = pgPolicy('retention', { for: 'all', to: retention, using: sql`true`, withCheck: sql`true` })

const time = (name: string) => timestamp(name, { withTimezone: true, mode: 'date' })
const createdAt = () => time('created_at').notNull().defaultNow()
const updatedAt = () =>
  time('updated_at')
    .notNull()
    .defaultNow()
    .$onUpdate(() => sql`now()`)
const workspaceId = () => uuid('workspace_id').notNull().default(currentWorkspaceId)
const oneOf = (table: string, column: string, values: readonly string[]) =>
  // One constant: Postgres reads the expression anew with every statement.
  check(`${table}_${column}_known`, sql.raw(`${column} = any('{${values.join(',')}}')`))

export const users = pgTable(
  'users',
  {
    id: uuid('id').primaryKey(),
    /** Lower-cased. Null where somebody else has proved it, or nobody named one (migrations/0009_accounts.sql). */
    email: text('email'),
    name: text('name'),
    /** Null while nobody has proved to own the address, which others may claim as well then. */
    emailVerifiedAt: time('email_verified_at'),
    /** Of mails; null while nobody has said. */
    language: text('language', { enum: languages }),
    /** scrypt in PHC form; null for accounts that sign in elsewhere. */
    passwordHash: text('password_hash'),
    disabledAt: time('disabled_at'),
    /** They have deleted their account, which goes then unless they sign in before. */
    leavesAt: time('leaves_at'),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (table) => [
    uniqueIndex('users_email_unique').on(table.email).where(sql`email_verified_at is not null`),
    index('users_email').on(table.email, table.id),
    // Whom perhaps nobody can enter any more (app.prune).
    index('users_without_email').on(table.updatedAt).where(sql`email is null`),
    oneOf('users', 'language', languages),
    pgPolicy('tenant', {
      for: 'select',
      to: tenant,
      using: sql`id = (select app.user_id()) or exists (select from memberships m where m.user_id = users.id and m.workspace_id = (select app.workspace_id()))`,
    }),
    pgPolicy('self', {
      for: 'update',
      to: tenant,
      using: sql`id = (select app.user_id())`,
      withCheck: sql`id = (select app.user_id())`,
    }),
    systemToo,
    pruned,
  ],
)

export const sessions = pgTable(
  'sessions',
  {
    id: uuid('id').primaryKey(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    /** SHA-256 of the current refresh token, hex. */
    refreshHash: text('refresh_hash').notNull().unique('sessions_refresh_hash_unique'),
    /** Times that the refresh token was replaced. */
    refreshGeneration: integer('refresh_generation').notNull().default(0),
    refreshedAt: time('refreshed_at'),
    expiresAt: time('expires_at').notNull(),
    revokedAt: time('revoked_at'),
    /** Of the last refresh. */
    ip: text('ip'),
    /** ISO 3166, of the last refresh; null where Cloudflare knows none. */
    country: text('country'),
    userAgent: text('user_agent'),
    /** When its person last proved themselves. */
    provedAt: time('proved_at').notNull().defaultNow(),
    /** Whether they have done so by a second factor. */
    secondFactor: boolean('second_factor').notNull().default(false),
    /** Browser and system, as the user agent says. */
    device: text('device'),
    createdAt: createdAt(),
  },
  (table) => [
    index('sessions_user').on(table.userId, table.id).where(sql`revoked_at is null`),
    // Of those, too, that have ended.
    index('sessions_all').on(table.userId),
    index('sessions_end').on(sql`least(revoked_at, expires_at)`),
    ownOnly,
    // What has ended has done so for good.
    pgPolicy('ended', {
      as: 'restrictive',
      for: 'update',
      to: tenant,
      using: sql`revoked_at is null`,
      withCheck: sql`true`,
    }),
    systemToo,
    pruned,
  ],
)

/** Who somebody is at a sign-in provider of the front end. */
export const accounts = pgTable(
  'accounts',
  {
    provider: text('provider').notNull(),
    providerAccountId: text('provider_account_id').notNull(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    createdAt: createdAt(),
  },
  (table) => [
    primaryKey({ columns: [table.provider, table.providerAccountId] }),
    index('accounts_user').on(table.userId),
    systemToo,
    pruned,
  ],
)

/** Which of them were somebody's who was erased: their sessions at the front end from before make no account. */
export const erasedAccounts = pgTable(
  'erased_accounts',
  {
    /** SHA-256 of provider and account, hex (`app.hash_account`). */
    accountHash: text('account_hash').primaryKey(),
    erasedAt: time('erased_at').notNull().defaultNow(),
  },
  (table) => [index('erased_accounts_time').on(table.erasedAt), gateOnly, pruned],
)

/** The secret that somebody's authenticator app has. */
export const totpSecrets = pgTable(
  'totp_secrets',
  {
    userId: uuid('user_id')
      .primaryKey()
      .default(currentUserId)
      .references(() => users.id, { onDelete: 'cascade' }),
    /** Encrypted (src/auth/factors/secrets.ts). */
    secret: text('secret').notNull(),
    /** Null until a code has shown that the app has it. */
    confirmedAt: time('confirmed_at'),
    /** Of the last code that was accepted (RFC 6238): none of it or before is accepted again. */
    lastStep: bigint('last_step', { mode: 'number' }),
    createdAt: createdAt(),
  },
  () => [
    ownOnly,
    onlyFor('insert', 'totp.create'),
    onlyFor('update', 'totp.create', 'totp.confirm', 'session.prove'),
    onlyFor('delete', 'totp.delete'),
    systemToo,
  ],
)

/** The codes for whoever has lost their second factor: a row goes with its use. */
export const recoveryCodes = pgTable(
  'recovery_codes',
  {
    userId: uuid('user_id')
      .notNull()
      .default(currentUserId)
      .references(() => users.id, { onDelete: 'cascade' }),
    /** HMAC-SHA-256 of the person and the code (src/auth/factors/secrets.ts). */
    codeHash: text('code_hash').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.userId, table.codeHash] }),
    ownOnly,
    onlyFor('insert', 'totp.confirm', 'passkey.create', 'recovery_code.create'),
    onlyFor('update', 'session.prove'),
    onlyFor(
      'delete',
      'totp.confirm',
      'totp.delete',
      'passkey.delete',
      'recovery_code.create',
      'session.prove',
    ),
    systemToo,
  ],
)

/** WebAuthn credentials: what is known of a key that only its authenticator has. */
export const passkeys = pgTable(
  'passkeys',
  {
    id: uuid('id').primaryKey(),
    userId: uuid('user_id')
      .notNull()
      .default(currentUserId)
      .references(() => users.id, { onDelete: 'cascade' }),
    name: text('name').notNull(),
    /** As the authenticator calls it, base64url. */
    credentialId: text('credential_id').notNull().unique('passkeys_credential_id_unique'),
    /** COSE, base64url. */
    publicKey: text('public_key').notNull(),
    /** Of its signatures; stays 0 with authenticators that do not count. */
    counter: bigint('counter', { mode: 'number' }).notNull(),
    /** How a browser reaches it. */
    transports: text('transports').array().notNull(),
    /** Whether it is kept beyond its device. */
    backedUp: boolean('backed_up').notNull(),
    lastUsedAt: time('last_used_at'),
    createdAt: createdAt(),
  },
  (table) => [
    index('passkeys_user').on(table.userId, table.id),
    ownOnly,
    onlyFor('insert', 'passkey.create'),
    onlyFor('update', 'session.prove'),
    onlyFor('delete', 'passkey.delete'),
    systemToo,
    pruned,
  ],
)

/** Which of the signed tokens that work once have been used, until they would be over anyway. */
export const spentTokens = pgTable(
  'spent_tokens',
  {
    /** SHA-256, hex. */
    tokenHash: text('token_hash').primaryKey(),
    expiresAt: time('expires_at').notNull(),
  },
  (table) => [
    index('spent_tokens_end').on(table.expiresAt),
    pgPolicy('tenant', {
      for: 'insert',
      to: tenant,
      withCheck: sql`expires_at < now() + interval '1 day'`,
    }),
    onlyFor('insert', 'passkey.create', 'session.prove'),
    systemToo,
    pruned,
  ],
)

/** Mails: owed, sent, and what their links and codes are good for. Reached through functions only (migrations/0009_accounts.sql). */
export const mails = pgTable(
  'mails',
  {
    id: uuid('id').primaryKey(),
    kind: text('kind', { enum: mailKinds }).notNull(),
    /** Lower-cased. */
    recipient: text('recipient').notNull(),
    /** Whose account it is about; null where that is found when it is sent. */
    userId: uuid('user_id').references(() => users.id, { onDelete: 'cascade' }),
    language: text('language', { enum: languages }),
    /** What its text names. */
    data: jsonb('data').$type<Record<string, string>>().notNull().default({}),
    /** That it was asked from. */
    network: text('network'),
    status: text('status', { enum: mailStatuses }).notNull().default('pending'),
    /** Calls of the mail service. */
    attempts: integer('attempts').notNull().default(0),
    /** Who makes the call, until then. */
    taker: uuid('taker'),
    leaseExpiresAt: time('lease_expires_at'),
    /** SHA-256 of the link's token, hex; null while it was not sent. */
    tokenHash: text('token_hash').unique('mails_token_hash_unique'),
    /** Of the code, with a key that the database has not. */
    codeHash: text('code_hash'),
    /** Wrong codes. */
    tries: integer('tries').notNull().default(0),
    /** Of token and code. */
    expiresAt: time('expires_at'),
    usedAt: time('used_at'),
    /** As the mail service calls it. */
    messageId: text('message_id'),
    error: text('error'),
    createdAt: createdAt(),
    endedAt: time('ended_at'),
  },
  (table) => [
    index('mails_recipient').on(table.recipient, table.createdAt),
    index('mails_network').on(table.network, table.createdAt),
    index('mails_user').on(table.userId, table.createdAt),
    index('mails_time').on(table.createdAt),
    oneOf('mails', 'kind', mailKinds),
    oneOf('mails', 'status', mailStatuses),
    gateOnly,
    pruned,
  ],
)

/** What people have asked to have of themselves, the newest of each; reached through functions only (migrations/0010_leaving.sql). */
export const userExports = pgTable(
  'user_exports',
  {
    userId: uuid('user_id')
      .primaryKey()
      .references(() => users.id, { onDelete: 'cascade' }),
    /** Of the file in storage, too. */
    id: uuid('id').notNull().unique('user_exports_id_unique'),
    /** When the file is deleted; null until it is there. */
    expiresAt: time('expires_at'),
    createdAt: createdAt(),
  },
  () => [gateOnly],
)

/** Addresses that take no mail. */
export const bounces = pgTable(
  'bounces',
  { address: text('address').primaryKey(), reason: text('reason').notNull(), createdAt: createdAt() },
  (table) => [index('bounces_time').on(table.createdAt), gateOnly, pruned],
)

/** To whom free credits were granted: once a person, and for one workspace. */
export const freeGrants = pgTable(
  'free_grants',
  {
    /** SHA-256 of the proved address without what makes it an alias, hex. */
    person: text('person').primaryKey(),
    /** By which the ledger names it. */
    id: uuid('id').notNull().unique('free_grants_id').default(sql`app.uuid_v7()`),
    userId: uuid('user_id').notNull().unique('free_grants_user'),
    /** Null after whoever took it over had a grant of their own for it. */
    workspaceId: uuid('workspace_id').unique('free_grants_workspace'),
    /** The deleted workspace that it has left, while nothing was used of it since: restored, that has it again. */
    cameFrom: uuid('came_from'),
    /** Credits that are reserved or charged of it, in whichever workspaces, in the month that begins on this day, UTC. */
    used: integer('used').notNull().default(0),
    period: date('period', { mode: 'string' }).notNull(),
    /** That it was asked from, and where the mailbox is: what many in a day share looks farmed. */
    network: text('network'),
    domain: text('domain').notNull(),
    heldAt: time('held_at'),
    holdReason: text('hold_reason'),
    createdAt: createdAt(),
  },
  (table) => [
    index('free_grants_network').on(table.network, table.createdAt),
    index('free_grants_domain').on(table.domain, table.createdAt),
    gateOnly,
  ],
)

/** What free workspaces may spend together, in one row. */
export const freeBudget = pgTable(
  'free_budget',
  {
    singleton: boolean('singleton').primaryKey().default(true),
    /** Credits; null is unlimited. */
    daily: bigint('daily', { mode: 'number' }),
    /** UTC. */
    day: date('day', { mode: 'string' }).notNull().default(sql`'-infinity'`),
    /** On that day. */
    spent: bigint('spent', { mode: 'number' }).notNull().default(0),
  },
  () => [check('free_budget_singleton', sql`singleton`), gateOnly],
)

export const workspaces = pgTable(
  'workspaces',
  {
    id: uuid('id').primaryKey(),
    name: text('name').notNull(),
    slug: text('slug').notNull().unique('workspaces_slug_unique'),
    plan: text('plan', { enum: plans }).notNull().default('free'),
    /** Of its members; keys stay. */
    secondFactorRequired: boolean('second_factor_required').notNull().default(false),
    /** Nobody is let in from then on; an owner can restore it for 30 days, and then it is removed. */
    deletedAt: time('deleted_at'),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  () => [
    oneOf('workspaces', 'plan', plans),
    pgPolicy('tenant', {
      for: 'all',
      to: tenant,
      using: sql`id = (select app.workspace_id())`,
      withCheck: sql`id = (select app.workspace_id())`,
    }),
    pgPolicy('own', {
      for: 'select',
      to: tenant,
      using: sql`exists (select from memberships m where m.workspace_id = workspaces.id and m.user_id = (select app.user_id()))`,
    }),
    pgPolicy('admin', {
      as: 'restrictive',
      for: 'update',
      to: tenant,
      using: isAtLeast('admin'),
      withCheck: sql`deleted_at is null or ${isAtLeast('owner')}`,
    }),
    onlyFor('update', 'workspace.update', 'workspace.delete', 'workspace.restore'),
    systemToo,
    pruned,
  ],
)

export const memberships = pgTable(
  'memberships',
  {
    workspaceId: workspaceId().references(() => workspaces.id, { onDelete: 'cascade' }),
    userId: uuid('user_id')
      .notNull()
      .default(currentUserId)
      .references(() => users.id, { onDelete: 'cascade' }),
    role: text('role', { enum: roles }).notNull(),
    /** In the order of joining, for lists. */
    entryId: uuid('entry_id').notNull().default(sql`app.uuid_v7()`),
    createdAt: createdAt(),
  },
  (table) => [
    primaryKey({ columns: [table.workspaceId, table.userId] }),
    index('memberships_user').on(table.userId, table.workspaceId),
    index('memberships_entry').on(table.workspaceId, table.entryId),
    index('memberships_owners').on(table.workspaceId, table.userId).where(sql`role = 'owner'`),
    oneOf('memberships', 'role', roles),
    tenantOnly,
    pgPolicy('own', { for: 'select', to: tenant, using: isOwn('user_id') }),
    onlyFor('update', 'member.update', 'workspace.transfer'),
    onlyFor('delete', 'member.remove'),
    pgPolicy('promote', {
      as: 'restrictive',
      for: 'update',
      to: tenant,
      using: sql`${isAtLeast('admin')} and ${isNotAbove}`,
      withCheck: isNotAbove,
    }),
    pgPolicy('remove', {
      as: 'restrictive',
      for: 'delete',
      to: tenant,
      using: sql`${isOwn('user_id')} or ${isAtLeast('admin')} and ${isNotAbove}`,
    }),
    systemToo,
    pruned,
  ],
)

export const invites = pgTable(
  'invites',
  {
    workspaceId: workspaceId().references(() => workspaces.id, { onDelete: 'cascade' }),
    id: uuid('id').notNull(),
    /** Lower-cased. */
    email: text('email').notNull(),
    role: text('role', { enum: roles }).notNull(),
    /** SHA-256, hex. */
    tokenHash: text('token_hash').notNull().unique('invites_token_hash_unique'),
    expiresAt: time('expires_at').notNull(),
    acceptedAt: time('accepted_at'),
    invitedBy: uuid('invited_by').default(currentUserId),
    createdAt: createdAt(),
  },
  (table) => [
    primaryKey({ columns: [table.workspaceId, table.id] }),
    // What is over is kept for a while, and may be most of it; so it is with keys and sessions.
    index('invites_open').on(table.workspaceId, table.id).where(sql`accepted_at is null`),
    index('invites_address').on(table.workspaceId, table.email, table.id),
    index('invites_end').on(sql`least(accepted_at, expires_at)`),
    index('invites_maker').on(table.invitedBy),
    oneOf('invites', 'role', roles),
    tenantOnly,
    adminsOnly,
    pgPolicy('invite', {
      as: 'restrictive',
      for: 'insert',
      to: tenant,
      withCheck: sql`${isNotAbove} and ${isOwn('invited_by')}`,
    }),
    onlyFor('insert', 'invite.create'),
    onlyFor(
      'delete',
      'invite.create',
      'invite.delete',
      'member.update',
      'member.remove',
      'workspace.transfer',
      'workspace.delete',
    ),
    systemToo,
    pruned,
  ],
)

export const apiKeys = pgTable(
  'api_keys',
  {
    workspaceId: workspaceId().references(() => workspaces.id, { onDelete: 'cascade' }),
    id: uuid('id').notNull(),
    name: text('name').notNull(),
    /** The key's first characters, to recognise it by. */
    start: text('start').notNull(),
    /** SHA-256, hex. */
    keyHash: text('key_hash').notNull().unique('api_keys_key_hash_unique'),
    /** Actions. */
    scopes: text('scopes').array().notNull(),
    expiresAt: time('expires_at'),
    revokedAt: time('revoked_at'),
    /** To the minute. */
    lastUsedAt: time('last_used_at'),
    createdBy: uuid('created_by').default(currentUserId),
    createdAt: createdAt(),
  },
  (table) => [
    primaryKey({ columns: [table.workspaceId, table.id] }),
    index('api_keys_in_force').on(table.workspaceId, table.id).where(sql`revoked_at is null`),
    index('api_keys_maker').on(table.createdBy),
    index('api_keys_end').on(sql`least(revoked_at, expires_at)`),
    check('api_keys_scopes_known', sql.raw(`scopes <@ array['${keyScopes.join("', '")}']`)),
    tenantOnly,
    adminsOnly,
    pgPolicy('make', { as: 'restrictive', for: 'insert', to: tenant, withCheck: isOwn('created_by') }),
    onlyFor('insert', 'api_key.create'),
    onlyFor('update', 'api_key.revoke', 'member.update', 'member.remove'),
    // For good.
    pgPolicy('revoke', {
      as: 'restrictive',
      for: 'update',
      to: tenant,
      withCheck: sql`revoked_at is not null`,
    }),
    onlyFor('delete', 'workspace.delete'),
    systemToo,
    pruned,
  ],
)

export const assets = pgTable(
  'assets',
  {
    workspaceId: workspaceId().references(() => workspaces.id),
    id: uuid('id').notNull(),
    name: text('name').notNull(),
    kind: text('kind', { enum: assetKinds }).notNull(),
    mimeType: text('mime_type').notNull(),
    /** Bytes. */
    size: bigint('size', { mode: 'number' }).notNull(),
    /** Hex; of a pending one null, since only what has been read is believed. */
    sha256: text('sha256'),
    /** The object in storage: its own, or that of an earlier asset with the same bytes (`app.share_object`). */
    objectId: uuid('object_id').notNull(),
    /** Which storage that object is in; assets that share it have the same. */
    store: text('store', { enum: stores }).notNull().default('home'),
    /** Pixels, as shown (orientation applied). */
    width: integer('width'),
    height: integer('height'),
    /** Of films that say. */
    durationSeconds: real('duration_seconds'),
    /** Of documents that say. */
    pages: integer('pages'),
    tags: text('tags').array().notNull().default([]),
    source: text('source', { enum: assetSources }).notNull(),
    status: text('status', { enum: assetStatuses }).notNull(),
    /** The copy that providers are sent, once there is one. */
    prepared: jsonb('prepared').$type<PreparedInput>(),
    /** A user, or null for what a server did. */
    createdBy: uuid('created_by').default(currentUserId),
    createdAt: createdAt(),
  },
  (table) => [
    primaryKey({ columns: [table.workspaceId, table.id] }),
    // Whichever of the three a list leaves open, `app.list_assets` merges.
    index('assets_filter').on(table.workspaceId, table.kind, table.source, table.status, table.id),
    index('assets_bytes').on(table.workspaceId, table.sha256).where(sql`status = 'ready'`),
    index('assets_object').on(table.workspaceId, table.objectId),
    index('assets_away').on(table.workspaceId, table.objectId).where(sql`store = 'fallback'`),
    check('assets_ready_known', sql`status = 'pending' or sha256 is not null`),
    check('assets_size_known', sql`size >= 0`),
    // `app.matching_assets`, which by the text of the id finds no other index. The pending list (kB) makes inserts cheap, and
    // is short, since each search reads it.
    index('assets_name')
      .using('gin', sql`(workspace_id::text)`, table.name.op('gin_trgm_ops'))
      .with({ gin_pending_list_limit: 256 }),
    oneOf('assets', 'kind', assetKinds),
    oneOf('assets', 'source', assetSources),
    oneOf('assets', 'status', assetStatuses),
    oneOf('assets', 'store', stores),
    tenantOnly,
    onlyFor('insert', 'asset.create', 'asset.begin', 'export.finish'),
    // Jobs keep the copies that providers get, and bring objects home.
    onlyFor('update', 'asset.update', 'asset.complete', JOB),
    onlyFor(
      'delete',
      'asset.delete',
      'asset.lose',
      'asset.expire',
      'asset.complete',
      'asset.begin',
      'workspace.delete',
    ),
    jobsToo,
    // For `app.matching_assets`, which names the workspace itself: behind a condition no index would search in names.
    pgPolicy('search', { for: 'select', to: gate, using: sql`true` }),
  ],
)

/** Smaller copies of pictures, made when they are first asked for. */
export const assetCopies = pgTable(
  'asset_copies',
  {
    workspaceId: workspaceId(),
    assetId: uuid('asset_id').notNull(),
    /** Width and format, such as `320.webp`. */
    name: text('name').notNull(),
    /** Bytes; 0 while there is none. */
    size: bigint('size', { mode: 'number' }).notNull().default(0),
    /** Until then somebody makes it, and nobody else. */
    leaseExpiresAt: time('lease_expires_at').notNull(),
    madeAt: time('made_at'),
    /** None can be made of this picture. */
    refusedAt: time('refused_at'),
  },
  (table) => [
    primaryKey({ columns: [table.workspaceId, table.assetId, table.name] }),
    foreignKey({
      columns: [table.workspaceId, table.assetId],
      foreignColumns: [assets.workspaceId, assets.id],
    }).onDelete('cascade'),
    check('asset_copies_size_known', sql`size >= 0`),
    tenantOnly,
  ],
)

/** What was asked to be made of an asset for a channel, and what became of it. */
export const assetExports = pgTable(
  'asset_exports',
  {
    workspaceId: workspaceId(),
    id: uuid('id').notNull(),
    assetId: uuid('asset_id').notNull(),
    channel: text('channel', { enum: channels }).notNull(),
    status: text('status', { enum: exportStatuses }).notNull().default('queued'),
    /** The object that it makes, another at each attempt; at its end the asset. */
    outputId: uuid('output_id').notNull(),
    refusal: jsonb('refusal').$type<ExportRefusal>(),
    /** Until then somebody makes it, and nobody else. */
    leaseExpiresAt: time('lease_expires_at'),
    createdBy: uuid('created_by').default(currentUserId),
    createdAt: createdAt(),
    endedAt: time('ended_at'),
  },
  (table) => [
    primaryKey({ columns: [table.workspaceId, table.id] }),
    foreignKey({
      columns: [table.workspaceId, table.assetId],
      foreignColumns: [assets.workspaceId, assets.id],
    }).onDelete('cascade'),
    index('asset_exports_asset').on(table.workspaceId, table.assetId, table.id),
    index('asset_exports_output').on(table.workspaceId, table.outputId),
    // Who asks again while it waits gets the same.
    uniqueIndex('asset_exports_open')
      .on(table.workspaceId, table.assetId, table.channel)
      .where(sql`status = 'queued'`),
    oneOf('asset_exports', 'channel', channels),
    oneOf('asset_exports', 'status', exportStatuses),
    tenantOnly,
    onlyFor('insert', 'export.create'),
    // Its job takes it, and gives it back.
    onlyFor('update', 'export.finish', JOB),
  ],
)

/** Each tag of each asset, with what a list filters by: kept by a trigger (`app.index_tags`). */
export const assetTags = pgTable(
  'asset_tags',
  {
    workspaceId: workspaceId(),
    tag: text('tag').notNull(),
    kind: text('kind', { enum: assetKinds }).notNull(),
    source: text('source', { enum: assetSources }).notNull(),
    status: text('status', { enum: assetStatuses }).notNull(),
    id: uuid('id').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.workspaceId, table.id, table.tag] }),
    foreignKey({
      columns: [table.workspaceId, table.id],
      foreignColumns: [assets.workspaceId, assets.id],
    }).onDelete('cascade'),
    index('asset_tags_filter').on(
      table.workspaceId,
      table.tag,
      table.kind,
      table.source,
      table.status,
      table.id,
    ),
    tenantOnly,
    systemToo,
  ],
)

/** Uploads straight to storage. A row outlives its asset, until nothing of it can be in storage any more. */
export const uploads = pgTable(
  'uploads',
  {
    workspaceId: workspaceId(),
    /** Of the asset, and of its object. */
    id: uuid('id').notNull(),
    /** Bytes of each part but the last. */
    partSize: bigint('part_size', { mode: 'number' }).notNull(),
    /** What storage calls it, if it has more than one. */
    uploadId: text('upload_id'),
    /** As announced, hex. */
    sha256: text('sha256'),
    /** When its parts became an object, which is then read. */
    completedAt: time('completed_at'),
    /** Nobody else may read it until then. */
    leaseExpiresAt: time('lease_expires_at'),
    /** Given up then. */
    endsAt: time('ends_at').notNull(),
    /** Why its asset was deleted, if it was not what was announced. */
    mismatch: text('mismatch'),
  },
  (table) => [primaryKey({ columns: [table.workspaceId, table.id] }), tenantOnly],
)

export const generations = pgTable(
  'generations',
  {
    workspaceId: workspaceId().references(() => workspaces.id),
    id: uuid('id').notNull(),
    task: text('task', { enum: tasks }).notNull(),
    kind: text('kind', { enum: generationKinds }).notNull(),
    status: text('status', { enum: generationStatuses }).notNull().default('queued'),
    model: text('model').notNull(),
    /** The caller's instruction. */
    prompt: text('prompt'),
    /** Lettering for the picture. */
    text: text('text'),
    style: text('style').$type<Style>(),
    /** Null: as the model chooses, or as the photo is. */
    aspectRatio: text('aspect_ratio').$type<AspectRatio>(),
    /** Outputs asked for. */
    count: integer('count').notNull(),
    seed: integer('seed'),
    /** Seconds; videos only. */
    duration: integer('duration'),
    /** Told of the end, beside the workspace's endpoints. */
    webhookUrl: text('webhook_url'),
    /** The failed or canceled generation that this one does again. */
    retryOf: uuid('retry_of'),
    inputAssetIds: uuid('input_asset_ids').array().notNull(),
    /** Percent. */
    progress: integer('progress').notNull().default(0),
    error: jsonb('error').$type<GenerationError>(),
    /** Submissions to providers. */
    attempts: integer('attempts').notNull().default(0),
    /** Where a running job is, as the provider last said. */
    phase: text('phase').$type<GenerationPhase>(),
    /** Who was asked last, as provider and model. */
    offer: text('offer'),
    /** Claims; every write of a consumer repeats the number that its claim got. */
    fence: integer('fence').notNull().default(0),
    /** Nobody else may claim the row until then; null while nobody works on it. */
    leaseExpiresAt: time('lease_expires_at'),
    /** When a running job that nobody works on is due for its next step. */
    nextStepAt: time('next_step_at'),
    /** When a queued job was last told that there is a place for it. */
    wokenAt: time('woken_at'),
    /** When it will have ended in one case of two, and in nine of ten; null while too few like it have been measured. */
    eta: time('eta').array(),
    /** When a provider first had results that storage did not take at once: those are waited for past the deadline. */
    resultsAt: time('results_at'),
    /** Seconds from the first step; before that `deadlineAt` bounds the time in line. */
    deadline: integer('deadline').notNull(),
    deadlineAt: time('deadline_at').notNull(),
    creditsReserved: integer('credits_reserved').notNull(),
    creditsCharged: integer('credits_charged').notNull().default(0),
    createdBy: uuid('created_by').default(currentUserId),
    createdAt: createdAt(),
    startedAt: time('started_at'),
    completedAt: time('completed_at'),
  },
  (table) => [
    primaryKey({ columns: [table.workspaceId, table.id] }),
    index('generations_status').on(table.workspaceId, table.status, table.id),
    // A kind is some of the tasks.
    index('generations_task').on(table.workspaceId, table.task, table.status, table.id),
    oneOf('generations', 'kind', generationKinds),
    oneOf('generations', 'status', generationStatuses),
    tenantOnly,
    jobsToo,
    pruned,
  ],
)

/**
 * How long jobs took lately, from their first step to their end: fifty of each model and size, each new one in the place
 * of an earlier one. Of no workspace; written by a trigger.
 */
export const generationTimings = pgTable(
  'generation_timings',
  {
    model: text('model').notNull(),
    /** Outputs, or the seconds of a film. */
    size: integer('size').notNull(),
    slot: integer('slot').notNull(),
    /** Who made it, as provider and model. */
    offer: text('offer').notNull(),
    seconds: real('seconds').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.model, table.size, table.slot] }),
    pgPolicy('tenant', { for: 'select', to: tenant, using: sql`(select app.workspace_id()) is not null` }),
    systemToo,
    jobsToo,
  ],
)

/** One call of a provider for one or more of a generation's outputs: what was asked, what it is called there, what it cost. */
export const providerJobs = pgTable(
  'provider_jobs',
  {
    workspaceId: workspaceId(),
    id: uuid('id').notNull(),
    generationId: uuid('generation_id').notNull(),
    /** Which of the generation's outputs it is to make, from 0. */
    indexes: integer('indexes').array().notNull(),
    provider: text('provider', { enum: providerNames }).notNull(),
    model: text('model').notNull(),
    /** JSON pointer to the results in what the provider answers. */
    output: text('output').notNull(),
    /** The words that it was sent. */
    prompt: text('prompt'),
    /** The photos that it was sent. */
    inputs: jsonb('inputs').$type<SentInput[]>().notNull(),
    /** What the provider calls it; null until it has answered. */
    operation: jsonb('operation').$type<Operation>(),
    status: text('status', { enum: providerJobStatuses }).notNull().default('submitting'),
    /** The objects of its outputs, of this call alone: storing twice overwrites with the same bytes. */
    objectIds: uuid('object_ids').array().notNull(),
    /** Outputs that are in storage. */
    stored: jsonb('stored').$type<StoredOutput[]>().notNull().default([]),
    /** Times that outputs were fetched in vain. */
    fetches: integer('fetches').notNull().default(0),
    failure: jsonb('failure').$type<Failure>(),
    /** Dollars that the provider takes for what it made. */
    cost: numeric('cost', { precision: 12, scale: 6, mode: 'number' }),
    /** Credits that the customer was charged for it. */
    credits: integer('credits'),
    /** Nothing can come of it after that. */
    expiresAt: time('expires_at').notNull(),
    createdAt: createdAt(),
    endedAt: time('ended_at'),
  },
  (table) => [
    primaryKey({ columns: [table.workspaceId, table.id] }),
    foreignKey({
      columns: [table.workspaceId, table.generationId],
      foreignColumns: [generations.workspaceId, generations.id],
    }),
    // With their order, for which the primary key would read all of a workspace.
    index('provider_jobs_generation').on(table.workspaceId, table.generationId, table.id),
    oneOf('provider_jobs', 'status', providerJobStatuses),
    tenantOnly,
    jobsToo,
    pruned,
  ],
)

/** What a caller's idempotency key made, and how it was first answered. */
export const idempotencyKeys = pgTable(
  'idempotency_keys',
  {
    workspaceId: workspaceId(),
    caller: text('caller').notNull().default(currentActor),
    key: text('key').notNull(),
    /** SHA-256 of the request that the key came with, hex. */
    requestHash: text('request_hash').notNull(),
    /** What it made, if that is a generation. */
    generationId: uuid('generation_id'),
    /** The generation's row at that time, and its position in line; of other things their ids. */
    body: jsonb('body').$type<Record<string, unknown>>().notNull(),
    createdAt: createdAt(),
  },
  (table) => [
    primaryKey({ columns: [table.workspaceId, table.caller, table.key] }),
    foreignKey({
      columns: [table.workspaceId, table.generationId],
      foreignColumns: [generations.workspaceId, generations.id],
    }),
    index('idempotency_keys_time').on(table.createdAt),
    tenantOnly,
    jobsToo,
    pruned,
  ],
)

/** What happened to generations, in order; written by their trigger alone, hence without a foreign key. Live progress and replay read it. */
export const generationEvents = pgTable(
  'generation_events',
  {
    workspaceId: workspaceId(),
    /** Position in the workspace, from 1 and without gaps. */
    sequence: bigint('sequence', { mode: 'number' }).notNull(),
    generationId: uuid('generation_id').notNull(),
    type: text('type', { enum: eventTypes }).notNull(),
    status: text('status', { enum: generationStatuses }).notNull(),
    /** Percent. */
    progress: integer('progress').notNull(),
    phase: text('phase').$type<GenerationPhase>(),
    /** As the generation's was. */
    eta: time('eta').array(),
    createdAt: createdAt(),
  },
  (table) => [
    primaryKey({ columns: [table.workspaceId, table.sequence] }),
    index('generation_events_generation').on(table.workspaceId, table.generationId, table.sequence),
    index('generation_events_time').on(table.createdAt),
    oneOf('generation_events', 'type', eventTypes),
    pgPolicy('tenant', { for: 'select', to: tenant, using: inWorkspace }),
    systemToo,
    jobsToo,
    pruned,
  ],
)

/** The last sequence of each workspace's events; its row lock puts concurrent ones in line. */
export const eventHeads = pgTable(
  'event_heads',
  {
    workspaceId: uuid('workspace_id').primaryKey(),
    sequence: bigint('sequence', { mode: 'number' }).notNull(),
    /** Until then somebody may listen, so that the feed is told; before, nobody does. */
    listenedUntil: time('listened_until'),
  },
  () => [systemToo, jobsToo, pruned],
)

export const generationOutputs = pgTable(
  'generation_outputs',
  {
    workspaceId: workspaceId(),
    generationId: uuid('generation_id').notNull(),
    index: integer('index').notNull(),
    assetId: uuid('asset_id').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.workspaceId, table.generationId, table.index] }),
    unique('generation_outputs_asset').on(table.workspaceId, table.assetId),
    foreignKey({
      columns: [table.workspaceId, table.generationId],
      foreignColumns: [generations.workspaceId, generations.id],
    }),
    foreignKey({
      columns: [table.workspaceId, table.assetId],
      foreignColumns: [assets.workspaceId, assets.id],
    }).onDelete('cascade'),
    tenantOnly,
    jobsToo,
  ],
)

export const webhookEndpoints = pgTable(
  'webhook_endpoints',
  {
    workspaceId: workspaceId().references(() => workspaces.id, { onDelete: 'cascade' }),
    id: uuid('id').notNull(),
    url: text('url').notNull(),
    /** Event types; empty means all but `progress`. */
    events: text('events').array().notNull(),
    /** Standard Webhooks form; needed in clear to sign with. */
    secret: text('secret').notNull(),
    /** When an unbroken row of failures began. */
    failingSince: time('failing_since'),
    /** Attempts in a row that nothing answered in time. */
    silentAttempts: integer('silent_attempts').notNull().default(0),
    /** After some of those, when it is tried next; until then deliveries are put off. */
    quietUntil: time('quiet_until'),
    /** By an admin, by its own answer 410, or after days of failure. */
    disabledAt: time('disabled_at'),
    /** From then on nobody sees it; the row stays until its deliveries are removed. */
    deletedAt: time('deleted_at'),
    createdBy: uuid('created_by').default(currentUserId),
    createdAt: createdAt(),
  },
  (table) => [
    primaryKey({ columns: [table.workspaceId, table.id] }),
    index('webhook_endpoints_maker').on(table.createdBy),
    tenantOnly,
    adminsOnly,
    onlyFor('insert', 'webhook.create'),
    // A delivery's job tries one that is quiet.
    onlyFor('update', 'webhook.update', 'webhook.delete', 'workspace.delete', 'workspace.restore', JOB),
    onlyFor('delete', 'workspace.delete', JOB),
    systemToo,
  ],
)

/** One message to one URL, made by the trigger that makes the event. */
export const webhookDeliveries = pgTable(
  'webhook_deliveries',
  {
    workspaceId: workspaceId().references(() => workspaces.id, { onDelete: 'cascade' }),
    id: uuid('id').notNull().default(sql`app.uuid_v7()`),
    /** Null for the URL that a single job came with. */
    endpointId: uuid('endpoint_id'),
    url: text('url').notNull(),
    /** Of the event. */
    sequence: bigint('sequence', { mode: 'number' }).notNull(),
    payload: jsonb('payload').$type<Record<string, unknown>>().notNull(),
    status: text('status', { enum: deliveryStatuses }).notNull().default('pending'),
    attempts: integer('attempts').notNull().default(0),
    /** Null when it is due at once; during an attempt the end of its lease. */
    nextAttemptAt: time('next_attempt_at'),
    /** Of the last attempt; null when nothing answered. */
    responseStatus: integer('response_status'),
    error: text('error'),
    createdAt: createdAt(),
    deliveredAt: time('delivered_at'),
    /** When it was delivered or given up; null while it is pending. */
    endedAt: time('ended_at'),
  },
  (table) => [
    primaryKey({ columns: [table.workspaceId, table.id] }),
    index('webhook_deliveries_event').on(table.workspaceId, table.sequence),
    index('webhook_deliveries_endpoint').on(table.workspaceId, table.endpointId, table.id),
    foreignKey({
      columns: [table.workspaceId, table.endpointId],
      foreignColumns: [webhookEndpoints.workspaceId, webhookEndpoints.id],
    }).onDelete('cascade'),
    index('webhook_deliveries_end').on(table.endedAt),
    index('webhook_deliveries_status').on(table.workspaceId, table.endpointId, table.status, table.id),
    oneOf('webhook_deliveries', 'status', deliveryStatuses),
    tenantOnly,
    adminsOnly,
    jobsToo,
    systemToo,
    pruned,
  ],
)

/** What would otherwise be summed over a workspace's rows for a request; kept by triggers, so that it is exact. */
export const workspaceCounters = pgTable(
  'workspace_counters',
  {
    workspaceId: uuid('workspace_id')
      .primaryKey()
      .references(() => workspaces.id),
    /** Bytes of all assets. */
    storedBytes: bigint('stored_bytes', { mode: 'number' }).notNull().default(0),
    /** Bytes of sized copies, which no quota counts. */
    copiedBytes: bigint('copied_bytes', { mode: 'number' }).notNull().default(0),
    queued: integer('queued').notNull().default(0),
    running: integer('running').notNull().default(0),
    /** First day of the month (UTC) that the credits are of; nothing is used yet of a later one. */
    period: date('period', { mode: 'string' }).notNull().default(sql`'-infinity'`),
    /** Credits that open jobs hold. */
    reserved: bigint('reserved', { mode: 'number' }).notNull().default(0),
    charged: bigint('charged', { mode: 'number' }).notNull().default(0),
  },
  () => [pgPolicy('tenant', { for: 'select', to: tenant, using: inWorkspace }), systemToo, jobsToo, pruned],
)

/** Append-only. A generation is reserved for, then charged and refunded, each at most once; a trigger looks at it, and takes the place of a foreign key. */
export const creditEntries = pgTable(
  'credit_entries',
  {
    workspaceId: workspaceId(),
    id: uuid('id').notNull().default(sql`app.uuid_v7()`),
    generationId: uuid('generation_id').notNull(),
    kind: text('kind', { enum: creditKinds }).notNull(),
    credits: integer('credits').notNull(),
    /** First day of the month (UTC) whose grant pays: the month of the reservation. */
    period: date('period', { mode: 'string' }).notNull(),
    /** Whose free credits pay, if they do. */
    grantId: uuid('grant_id'),
    createdAt: createdAt(),
  },
  (table) => [
    primaryKey({ columns: [table.workspaceId, table.id] }),
    unique('credit_entries_once').on(table.workspaceId, table.generationId, table.kind),
    oneOf('credit_entries', 'kind', creditKinds),
    check('credit_entries_credits_positive', sql`credits > 0`),
    tenantOnly,
    jobsToo,
    pruned,
  ],
)

/** Append-only, written by triggers (see migrations); no foreign keys, so that it survives what it describes. */
export const auditLogs = pgTable(
  'audit_logs',
  {
    id: uuid('id').primaryKey().default(sql`app.uuid_v7()`),
    /** Null for what happens outside a workspace, such as signing in. */
    workspaceId: uuid('workspace_id').default(currentWorkspaceId),
    action: text('action').notNull(),
    actorType: text('actor_type', { enum: actorTypes }).notNull(),
    actorId: uuid('actor_id'),
    resourceType: text('resource_type').notNull(),
    resourceId: uuid('resource_id'),
    before: jsonb('before').$type<Record<string, unknown>>(),
    after: jsonb('after').$type<Record<string, unknown>>(),
    ip: text('ip'),
    userAgent: text('user_agent'),
    requestId: text('request_id'),
    createdAt: createdAt(),
    /** Position in the workspace's chain, from 1; null outside a workspace. */
    sequence: bigint('sequence', { mode: 'number' }),
    /** SHA-256 over the row and the hash of the one before it, hex. */
    hash: text('hash'),
  },
  (table) => [
    index('audit_logs_workspace').on(table.workspaceId, table.id),
    // Whichever a list leaves open, `app.list_audit` merges.
    index('audit_logs_kind').on(table.workspaceId, table.resourceType, table.action, table.id),
    index('audit_logs_actor').on(
      table.workspaceId,
      table.actorId,
      table.resourceType,
      table.action,
      table.id,
    ),
    index('audit_logs_resource').on(table.workspaceId, table.resourceId, table.id),
    unique('audit_logs_chain').on(table.workspaceId, table.sequence),
    pgPolicy('tenant', { for: 'select', to: tenant, using: auditors }),
    pgPolicy('system', { for: 'insert', to: system, withCheck: sql`true` }),
    // For what people have exported of themselves.
    pgPolicy('gate', { for: 'select', to: gate, using: sql`workspace_id is null` }),
    pruned,
  ],
)

/** The end of each workspace's chain, so that rows missing from it are missed. */
export const auditHeads = pgTable(
  'audit_heads',
  {
    workspaceId: uuid('workspace_id').primaryKey(),
    sequence: bigint('sequence', { mode: 'number' }).notNull(),
    hash: text('hash').notNull(),
    /** Of the last checkpoint. */
    checkedSequence: bigint('checked_sequence', { mode: 'number' }).notNull().default(0),
    checkedAt: time('checked_at').notNull().default(sql`'-infinity'`),
    /**
     * Since when the head waits for the next checkpoint, which is due after a day; with 100 new entries it has waited enough. Null if it
     * has not moved. A column, since an index by what each entry changes would be written with each.
     */
    waitsSince: time('waits_since').generatedAlwaysAs(
      sql`case when sequence >= checked_sequence + 100 then '-infinity'::timestamptz when sequence > checked_sequence then checked_at end`,
    ),
  },
  (table) => [
    index('audit_heads_waiting').on(table.waitsSince).where(sql`waits_since is not null`),
    pgPolicy('tenant', { for: 'select', to: tenant, using: auditors }),
    systemToo,
    pruned,
  ],
)

/** Signed heads of the chains, so that a chain which was recomputed or cut short differs from what it once was. */
export const auditCheckpoints = pgTable(
  'audit_checkpoints',
  {
    workspaceId: uuid('workspace_id').notNull(),
    id: uuid('id').notNull().default(sql`app.uuid_v7()`),
    /** Of the chain's last entry; also how many it had. */
    sequence: bigint('sequence', { mode: 'number' }).notNull(),
    /** Of that entry. */
    hash: text('hash').notNull(),
    /** Compact JWS over workspace, sequence, hash and time. */
    signature: text('signature').notNull(),
    /** Of the key that signed. */
    kid: text('kid').notNull(),
    createdAt: time('created_at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.workspaceId, table.id] }),
    unique('audit_checkpoints_sequence').on(table.workspaceId, table.sequence),
    index('audit_checkpoints_time').on(table.createdAt),
    pgPolicy('tenant', { for: 'select', to: tenant, using: auditors }),
    systemToo,
    pruned,
  ],
)

/** SQL: no later than anything is owed: a deleted workspace goes after a month. */
const isSoon = sql`available_at < now() + interval '90 days'`
/** SQL: a note of what the role may do by requests; jobs, whose the others are, have an owner's. */
const isOwnNote = sql`(select app.own_rank()) >= app.role_rank(case
  when kind = 'copies.delete' then 'viewer'
  when kind in ('object.delete', 'object.move', 'upload.check', 'upload.end') then 'member'
  when kind in ('webhook.deliver', 'webhook.delete') then 'admin'
  else 'owner' end)`

/** What is owed after a commit: a row stays until its work is done, and the sweeper re-sends what is due. */
export const outbox = pgTable(
  'outbox',
  {
    workspaceId: workspaceId(),
    kind: text('kind', { enum: jobKinds }).notNull(),
    /** A generation, a delivery, an object or an asset's copies to be deleted, an export, an upload, a deleted endpoint, the workspace itself, or, of no workspace, a mail, a person to be deleted or what one has exported. */
    subjectId: uuid('subject_id').notNull(),
    /** When the sweeper should (re-)send the message. */
    availableAt: time('available_at').notNull(),
    /** Times that the sweeper has sent it. */
    sends: integer('sends').notNull().default(0),
    createdAt: createdAt(),
  },
  (table) => [
    primaryKey({ columns: [table.workspaceId, table.kind, table.subjectId] }),
    index('outbox_due').on(table.availableAt),
    oneOf('outbox', 'kind', jobKinds),
    // One sweep serves all workspaces: a value that it can't reckon with would stop it for all.
    check('outbox_reckonable', sql`sends between 0 and 1000000 and isfinite(available_at)`),
    tenantOnly,
    pgPolicy('owe', { as: 'restrictive', for: 'insert', to: tenant, withCheck: isSoon }),
    pgPolicy('put_off', {
      as: 'restrictive',
      for: 'update',
      to: tenant,
      using: isOwnNote,
      withCheck: sql`${isOwnNote} and ${isSoon}`,
    }),
    pgPolicy('settle', { as: 'restrictive', for: 'delete', to: tenant, using: isOwnNote }),
    jobsToo,
    systemToo,
    pruned,
  ],
)
