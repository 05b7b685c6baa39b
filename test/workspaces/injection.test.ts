/** What injected SQL could do: statements run as the Worker's tenant login, behind a gate that was passed honestly. */
import { hash } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { addPasskey } from '../support/authenticator.ts'
import { control, stack } from '../support/control.ts'
import { asOwner, claimOf, enter } from '../support/database.ts'
import { addTotp } from '../support/factors.ts'
import { finished, generate } from '../support/generations.ts'
import { addMember, invite, newKey, newTenant, type Role, type Tenant } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

const login = new pg.Client(stack.tenantDatabase)
let ours: Tenant
let theirs: Tenant

beforeAll(async () => {
  await login.connect()
  ours = await newTenant()
  theirs = await newTenant()
  for (const { client, workspaceId, userId } of [ours, theirs]) {
    await asOwner(
      `insert into sessions (id, user_id, refresh_hash, expires_at, revoked_at)
       values (gen_random_uuid(), $1, gen_random_uuid(), now() + interval '1 day', now())`,
      [userId],
    )
    await client.upload('file.txt', 'some text')
    await finished(client, (await generate(client)).id)
    await client.post('/webhooks', { url: 'http://127.0.0.1:9/' })
    await newKey(client, ['asset.list'])
    await invite(client, workspaceId)
    await addTotp(client)
    await addPasskey(client)
    await asOwner(
      `insert into webhook_deliveries (workspace_id, url, sequence, payload) values ($1, 'http://127.0.0.1:9/', 1, '{}')`,
      [workspaceId],
    )
    await asOwner(
      `insert into outbox (workspace_id, kind, subject_id, available_at)
       select $1, unnest('{object.delete,generation}'::text[]), gen_random_uuid(), now() + interval '1 day'`,
      [workspaceId],
    )
  }
})
afterAll(() => login.end())

/** Everything that both tenants have. */
const everything = () =>
  asOwner(
    `select (select jsonb_agg(w order by w.id) from workspaces w where id = any($1)) as workspaces,
            (select jsonb_agg(m order by m.workspace_id, m.user_id) from memberships m where workspace_id = any($1)) as memberships,
            (select jsonb_agg(jsonb_build_array(u.id, u.email, u.password_hash) order by u.id) from users u where id = any($2)) as users,
            (select jsonb_agg(a order by a.id) from assets a where workspace_id = any($1)) as assets,
            (select jsonb_agg(e order by e.id) from credit_entries e where workspace_id = any($1)) as credits,
            (select jsonb_agg(c order by c.workspace_id) from workspace_counters c where workspace_id = any($1)) as counters,
            (select jsonb_agg(i order by i.id) from invites i where workspace_id = any($1)) as invites,
            (select jsonb_agg(k order by k.id) from api_keys k where workspace_id = any($1)) as keys,
            (select jsonb_agg(e order by e.id) from webhook_endpoints e where workspace_id = any($1)) as endpoints,
            (select jsonb_agg(d order by d.id) from webhook_deliveries d where workspace_id = any($1)) as deliveries,
            (select jsonb_agg(jsonb_build_array(s.id, s.proved_at, s.second_factor, s.revoked_at) order by s.id) from sessions s where user_id = any($2)) as sessions,
            (select jsonb_agg(t order by t.user_id) from totp_secrets t where user_id = any($2)) as apps,
            (select jsonb_agg(c order by c.code_hash) from recovery_codes c where user_id = any($2)) as codes,
            (select jsonb_agg(p order by p.id) from passkeys p where user_id = any($2)) as passkeys,
            (select jsonb_agg(a order by a.id) from audit_logs a where workspace_id = any($1)) as audit`,
    [
      [ours.workspaceId, theirs.workspaceId],
      [ours.userId, theirs.userId],
    ],
  )

const forged = (to: Tenant) =>
  `set_config('app.context', repeat('0', 64) || '{"workspaceId":"${to.workspaceId}","userId":"${to.userId}","role":"owner"}', true)`

/** Gives back some credits of each job, which is charged already. */
const refund = (credits: string, period: string) =>
  `insert into credit_entries (generation_id, kind, credits, period)
   select generation_id, 'refund', ${credits}, ${period} from credit_entries where kind = 'reserve'`

/** Of each of our jobs. */
const ofJobs = (call: string) => `select app.${call} from generations`

const newAsset = (id: string, size: number) =>
  `insert into assets (id, name, kind, mime_type, size, sha256, source, status)
   values (${id}, 'x', 'image', 'image/png', ${size}, 'x', 'upload', 'ready')`
const newEndpoint = `insert into webhook_endpoints (id, url, events, secret) values (gen_random_uuid(), 'x', '{}', 'x')`
const newNote = (availableAt: string) =>
  `insert into outbox (kind, subject_id, available_at) values ('object.delete', gen_random_uuid(), ${availableAt})`

/** Each with what it gets: an error's SQLSTATE, or how many rows. */
const attacks: [string, (us: Tenant, them: Tenant) => string, string | number][] = [
  ['a context of its own', (_, them) => `select ${forged(them)}, app.workspace_id()`, '42501'],
  [
    'its own context with another workspace in it',
    (us, them) =>
      `select set_config('app.context', replace(current_setting('app.context'), '${us.workspaceId}', '${them.workspaceId}'), true), app.workspace_id()`,
    '42501',
  ],
  [
    'the context function',
    (_, them) => `select app.set_context('{"workspaceId":"${them.workspaceId}"}')`,
    '42501',
  ],
  ['the old settings', (_, them) => `select set_config('app.workspace_id', '${them.workspaceId}', true)`, 1],
  [
    'a claim without the key',
    (_, them) =>
      `select app.enter('{"credential":{"type":"system"},"scope":"workspace","workspaceId":"${them.workspaceId}"}', repeat('0', 64))`,
    'AG503',
  ],
  ['the key', () => 'select * from app.gate_key', '42501'],
  ['the system role', () => 'set role app_system', '42501'],
  ['the role of the gate', () => 'set role app_gate', '42501'],
  ['the owner', () => 'set role postgres', '42501'],
  [
    'an output that nobody made, with the context thrown away',
    () =>
      `insert into assets (id, name, kind, mime_type, size, sha256, source, status)
       values (gen_random_uuid(), 'x', 'image', 'image/png', 1, '', 'generation', 'ready') returning set_config('app.context', '', true)`,
    '42501',
  ],
  ['password hashes', () => 'select password_hash from users', '42501'],
  [
    'a password hash of its own choice',
    (us) => `update users set password_hash = 'x' where id = '${us.userId}'`,
    '42501',
  ],
  ['the change of a password', () => `select app.change_password(app.own_password_hash(), 'x')`, 'AP403'],
  [
    'an address of its own choice',
    (us, them) =>
      `update users set email = '${them.email}', email_verified_at = now() where id = '${us.userId}'`,
    '42501',
  ],
  ['proving an address', (us, them) => `select app.prove_email('${us.userId}', '${them.email}')`, '42501'],
  ['resetting a password', () => `select app.reset_password('x', 'x', gen_random_uuid(), null)`, '42501'],
  ['taking an address back', () => `select app.undo_change('x')`, '42501'],
  ['mails', () => 'select * from mails', '42501'],
  [
    'a mail to anybody',
    (_, them) => `select app.owe_mail(gen_random_uuid(), 'reset', '${them.email}', null, '{}')`,
    '42501',
  ],
  ['a mail of its own', () => `select app.take_mail(subject_id, subject_id, 'x', 'x') from outbox`, '42501'],
  [
    'a notice in a request for something else',
    () => 'select app.tell_of_password(gen_random_uuid())',
    'AP403',
  ],
  ['a notice of a factor', () => 'select app.tell_of_factor(gen_random_uuid())', 'AP403'],
  ['the second factors of others', (_, them) => `select app.factors_of('${them.userId}')`, '42501'],
  ['a proof of its own', () => 'update sessions set proved_at = now()', '42501'],
  ['a second factor that nobody has shown', () => 'update sessions set second_factor = true', '42501'],
  [
    'a passkey of its own',
    () => `insert into passkeys (id, name, credential_id, public_key, counter, transports, backed_up)
      values (gen_random_uuid(), 'x', gen_random_uuid(), 'x', 0, '{}', false)`,
    '42501',
  ],
  ['reviving keys', () => 'update api_keys set revoked_at = null', 0],
  ['removing keys', () => 'delete from api_keys', 0],
  ['counting a passkey back', () => 'update passkeys set counter = 0', 0],
  ['removing passkeys', () => 'delete from passkeys', 0],
  ['an app of its own', () => `insert into totp_secrets (secret) values ('x')`, '42501'],
  ['turning an app on', () => 'update totp_secrets set confirmed_at = now(), last_step = null', 0],
  ['removing the app', () => 'delete from totp_secrets', 0],
  ['a recovery code of its own', () => `insert into recovery_codes (code_hash) values ('x')`, '42501'],
  ['removing recovery codes', () => 'delete from recovery_codes', 0],
  [
    'sealing a secret',
    () =>
      `select set_config('app.context', replace(current_setting('app.context'), '"seals": null', '"seals": ["${hash('sha256', 'x')}"]'), true), app.is_sealed('x')`,
    '42501',
  ],
  [
    'spending a token',
    () => `insert into spent_tokens (token_hash, expires_at) values (gen_random_uuid(), now())`,
    '42501',
  ],
  ['free credits', (us) => `select app.fund('${us.userId}')`, '42501'],
  ['free credits of a month', () => `select app.take_free(-50, 50, now()::date)`, '42501'],
  ['the grants of free credits', () => 'select * from free_grants', '42501'],
  ['free credits that were not used', () => 'update free_grants set used = 0', '42501'],
  ['refresh tokens', () => 'select refresh_hash from sessions', '42501'],
  ['accounts', () => 'select * from accounts', '42501'],
  ['pruning', () => `select app.prune('sessions', 1)`, '42501'],
  ['all users', (us) => `select * from (select id from users) u where id <> '${us.userId}'`, 0],
  ['all assets', (us) => `select id from assets where workspace_id <> '${us.workspaceId}'`, 0],
  [
    'assets of one workspace',
    (_, them) => `select id from assets where workspace_id = '${them.workspaceId}'`,
    0,
  ],
  ['deleting assets', (us) => `delete from assets where workspace_id <> '${us.workspaceId}'`, 0],
  [
    'a membership elsewhere',
    (us, them) =>
      `insert into memberships (workspace_id, user_id, role) values ('${them.workspaceId}', '${us.userId}', 'owner')`,
    '42501',
  ],
  [
    'a workspace without a limit',
    () => `insert into workspaces (id, name, slug) values (gen_random_uuid(), 'x', 'x')`,
    '42501',
  ],
  [
    'moving a membership',
    (_, them) => `update memberships set workspace_id = '${them.workspaceId}'`,
    '42501',
  ],
  ['a better plan', () => `update workspaces set plan = 'enterprise'`, '42501'],
  ['the plan function', (us) => `select app.set_plan('${us.workspaceId}', 'enterprise')`, '42501'],
  [
    'credits',
    (us) =>
      `insert into credit_entries (workspace_id, generation_id, kind, credits, period) values ('${us.workspaceId}', gen_random_uuid(), 'refund', 9, now())`,
    '42501',
  ],
  ['a refund of more than was reserved', () => refund('2000000000', 'period'), '42501'],
  ['a refund of what was charged', () => refund('1', 'period'), '42501'],
  ['a refund in another month', () => refund('1', `'9999-01-01'`), '42501'],
  [
    'a job that nobody pays for',
    () => `insert into generations (id, task, kind, model, count, input_asset_ids, deadline, deadline_at, credits_reserved)
      values (gen_random_uuid(), 'scene', 'image', 'studio-scene', 1, '{}', 600, now(), 5)`,
    '42501',
  ],
  [
    'a job past what the Worker has signed',
    () => `select app.accept(app.context(), gen_random_uuid(), '{}', '{}', '{}', null, null)`,
    '42501',
  ],
  ['canceling past it', () => ofJobs('cancel(app.context(), id, 1)'), '42501'],
  ['taking jobs', () => ofJobs(`claim(workspace_id, id, true, 1, '[]', null)`), '42501'],
  ['noting calls', () => ofJobs(`note_calls(workspace_id, id, fence, 1, '[]')`), '42501'],
  ['naming calls', () => `select app.keep_operation(workspace_id, id, '{}') from provider_jobs`, '42501'],
  ['results of calls', () => `select app.keep_calls(app.workspace_id(), '[]')`, '42501'],
  ['holding jobs', () => ofJobs('renew(workspace_id, id, fence)'), '42501'],
  ['giving jobs back', () => ofJobs(`release(workspace_id, id, fence, 1, 0, false, '{}', '[]')`), '42501'],
  ['ending jobs', () => ofJobs(`settle(workspace_id, id, fence, 1, '{}', '[]', '[]')`), '42501'],
  ['ending the jobs of a workspace', () => 'select app.end_generations(1)', '42501'],
  ['the steps of the functions', () => ofJobs(`finish(generations, 'failed', null, '[]')`), '42501'],
  ['deleting files', () => 'delete from assets', 0],
  ['renaming files', () => `update assets set name = 'x'`, 0],
  [
    'a note that no sweep can count on',
    () =>
      `insert into outbox (kind, subject_id, sends, available_at) values ('object.delete', gen_random_uuid(), 2147483647, now())`,
    '42501',
  ],
  ['more sends than can be counted on', () => 'update outbox set sends = 2147483647', '23514'],
  ['fewer sends than none', () => 'update outbox set sends = -2147483648', '23514'],
  ['a note of no time', () => newNote(`'-infinity'`), '23514'],
  ['a note for ever', () => newNote(`'infinity'`), '42501'],
  ['a note of another age', () => newNote(`now() + interval '1 year'`), '42501'],
  ['putting off what is owed', () => `update outbox set available_at = now() + interval '1 year'`, '42501'],
  ['the audit log', () => 'select id from audit_logs', 0],
  ['changing the workspace', () => `update workspaces set name = 'x', second_factor_required = false`, 0],
  ['deleting it', () => 'update workspaces set deleted_at = now()', 0],
  ['a session that has ended', () => 'update sessions set revoked_at = null where revoked_at is not null', 0],
  ['rewriting the ledger', () => 'delete from credit_entries', '42501'],
  [
    'a forged audit row',
    (us) => `insert into audit_logs (workspace_id, action) values ('${us.workspaceId}', 'workspace.delete')`,
    '42501',
  ],
  [
    'an audit row of another action',
    () => `select app.record('workspace.delete', 'workspace', null, null, null)`,
    '42501',
  ],
  ['an audit row of another actor', (_, them) => `select app.act_as('${them.userId}')`, '42501'],
  ['the heads of the audit log', () => 'update audit_heads set sequence = 0', '42501'],
  ['rewriting the audit log', () => 'delete from audit_logs', '42501'],
  [
    'linking an account',
    () => `select app.resolve_account('{"provider":"x","providerAccountId":"y"}', '{}')`,
    '42501',
  ],
  ['temporary tables in front of ours', () => 'create temporary table users (id uuid)', '42501'],
  [
    'functions in front of ours',
    () => 'create function app.workspace_id(x int) returns int language sql as $$select 1$$',
    '42501',
  ],
  [
    'a function in public',
    () => 'create function public.f() returns int language sql as $$select 1$$',
    '42501',
  ],
  ['no row-level security', () => `set local row_security = off; select id from assets`, '42501'],
  ['no triggers', () => 'set session_replication_role = replica', '42501'],
  ['disabled triggers', () => 'alter table assets disable trigger all', '42501'],
  ['files of the server', () => `select pg_read_file('/etc/passwd')`, '42501'],
  ['programs of the server', () => `copy assets to program 'cat'`, '42501'],
  ['a role of its own', () => 'create role intruder', '42501'],
  ['more rights for its login', () => 'alter role current_user bypassrls', '42501'],
  ['membership of the system role', () => 'grant app_system to current_user', '42501'],
]

/** What comes of a statement behind the gate, which changes nothing. */
const attempt = async (claim: object, statement: string) => {
  const before = await everything()
  await login.query('begin')
  await enter(login, claim)
  const got = await login.query(statement).then(
    (result) => result.rowCount,
    (error: { code: string }) => error.code,
  )
  await login.query('commit')
  expect(await everything()).toEqual(before)
  return got
}

test.each(attacks)('%s', async (_, statement, outcome) => {
  expect(await attempt(await claimOf(ours), statement(ours, theirs))).toBe(outcome)
})

const newApiKey = (values: string) =>
  `insert into api_keys (id, name, start, key_hash, created_by, scopes)
   values (gen_random_uuid(), 'x', 'mck_', 'sealed', ${values})`
const newInvite = (values: string) =>
  `insert into invites (id, email, token_hash, expires_at, invited_by, role)
   values (gen_random_uuid(), 'x@example.com', 'sealed', now() + interval '1 day', ${values})`
const ownRole = (role: Role) => `update memberships set role = '${role}' where user_id = app.user_id()`

/** What a role of our own workspace gets that is too low for it. */
const ofRoles: [Role, string, (us: Tenant) => string, string | number][] = [
  ['viewer', 'a higher role', () => ownRole('owner'), 0],
  ['viewer', 'removing others', () => 'delete from memberships where user_id <> app.user_id()', 0],
  ['viewer', 'a key', () => newApiKey(`app.user_id(), '{asset.list}'`), '42501'],
  ['viewer', 'the keys', () => 'select key_hash from api_keys', 0],
  ['viewer', 'revoking keys', () => 'update api_keys set revoked_at = now()', 0],
  ['viewer', 'an invite', () => newInvite(`app.user_id(), 'viewer'`), '42501'],
  ['viewer', 'withdrawing invites', () => 'delete from invites', 0],
  ['viewer', 'an endpoint', () => newEndpoint, '42501'],
  ['viewer', 'the secrets of endpoints', () => 'select secret from webhook_endpoints', 0],
  ['viewer', 'redirecting endpoints', () => `update webhook_endpoints set url = 'x'`, 0],
  ['viewer', 'sending deliveries again', () => `update webhook_deliveries set attempts = 0`, 0],
  ['viewer', 'deleting deliveries', () => 'delete from webhook_deliveries', 0],
  ['viewer', 'where deliveries go', () => 'select url from webhook_deliveries', 0],
  ['viewer', 'renaming files', () => `update assets set name = 'x'`, 0],
  ['viewer', 'settling what is owed', () => 'delete from outbox', 0],
  [
    'viewer',
    'putting off what is owed',
    () => `update outbox set available_at = now() + interval '1 day'`,
    0,
  ],
  ['member', 'settling jobs', () => `delete from outbox where kind = 'generation'`, 0],
  ['member', 'room for files', () => newAsset('app.uuid_v7()', -1_000_000), '23514'],
  ['member', 'a file of another time', () => newAsset(`app.uuid_at(now() - interval '1 year')`, 1), '42501'],
  ['viewer', 'another name', () => `update workspaces set name = 'x'`, 0],
  ['viewer', 'the audit log', () => 'select id from audit_logs', 0],
  [
    'viewer',
    'a workspace to go on in',
    () => `select app.create_workspace(gen_random_uuid(), 'x', 'x')`,
    'AP403',
  ],
  ['viewer', 'an invite to go on by', () => `select app.accept_invite('x')`, 'AP403'],
  ['member', 'a higher role', () => ownRole('admin'), 0],
  ['admin', 'a higher role', () => ownRole('owner'), '42501'],
  ['admin', "the owner's place", () => `update memberships set role = 'viewer' where role = 'owner'`, 0],
  ['admin', 'removing the owner', () => `delete from memberships where role = 'owner'`, 0],
  [
    'admin',
    "a key that outlives its maker's rights",
    (us) => newApiKey(`'${us.userId}', '{asset.list}'`),
    '42501',
  ],
  ['admin', 'a key for everything', () => newApiKey(`app.user_id(), '{workspace.delete}'`), '23514'],
  ['admin', 'an invite as an owner', () => newInvite(`app.user_id(), 'owner'`), '42501'],
  [
    'admin',
    "an invite that outlives its maker's rights",
    (us) => newInvite(`'${us.userId}', 'viewer'`),
    '42501',
  ],
  ['admin', 'deleting the workspace', () => 'update workspaces set deleted_at = now()', '42501'],
]

test('even behind a proof no token is spent for longer than a day', async () => {
  const statement = `insert into spent_tokens (token_hash, expires_at) values (gen_random_uuid(), now() + interval '100 years')`
  expect(await attempt(await claimOf(ours, 'session.prove'), statement)).toBe('42501')
})

const newPasskey = `insert into passkeys (id, name, credential_id, public_key, counter, transports, backed_up)
  values (gen_random_uuid(), 'x', gen_random_uuid(), 'x', 0, '{}', false)`
const newCode = `insert into recovery_codes (code_hash) values ('x')`

/** Where the Worker itself may write such a secret: none but its own. */
test.each([
  ['password.update', `select app.change_password(app.own_password_hash(), 'x')`, 'AP403'],
  ['password.update', `update users set password_hash = 'x'`, '42501'],
  ['totp.create', `insert into totp_secrets (secret) values ('x') on conflict (user_id) do nothing`, '42501'],
  ['totp.create', `update totp_secrets set secret = 'x'`, '42501'],
  ['totp.confirm', `update totp_secrets set secret = 'x'`, '42501'],
  ['totp.confirm', newCode, '42501'],
  ['recovery_code.create', newCode, '42501'],
  ['passkey.create', newPasskey, '42501'],
  ['passkey.create', newCode, '42501'],
  ['session.prove', `update totp_secrets set secret = 'x'`, '42501'],
  ['session.prove', `update recovery_codes set code_hash = 'x'`, '42501'],
])('in %s: %s', async (action, statement, outcome) => {
  const seals = [hash('sha256', 'another secret')]
  expect(await attempt({ ...(await claimOf(ours, action)), seals }, statement)).toBe(outcome)
})

const isCredits = `select app.accept(app.context(), gen_random_uuid(), '{"task": "scene", "credits_reserved": 0}', '{}', '{}', null, null)`

test.each([
  ['generation.create', isCredits, '42501'],
  ['generation.retry', isCredits, '42501'],
  ['generation.create', `select app.change('{"what": "accept"}', repeat('0', 64))`, 'AG503'],
])('in %s no job at a price of its own', async (action, statement, outcome) => {
  expect(await attempt(await claimOf(ours, action), statement)).toBe(outcome)
})

test.each([
  [
    'member.update',
    `update memberships set role = 'viewer' where role = 'owner' and user_id <> app.user_id()`,
  ],
  ['member.update', `update memberships set role = 'owner' where role = 'viewer'`],
  ['member.remove', `delete from memberships where role = 'owner' and user_id <> app.user_id()`],
  ['invite.create', newInvite(`app.user_id(), 'owner'`)],
])('in %s no ownership without a proof', async (action, statement) => {
  const us = await newTenant()
  await addMember(us.workspaceId, 'owner')
  await addMember(us.workspaceId, 'viewer')
  await asOwner(`update sessions set proved_at = now() - interval '1 hour' where user_id = $1`, [us.userId])
  const claim = { ...(await claimOf(us, action)), seals: [hash('sha256', 'sealed')] }
  expect(await attempt(claim, statement)).toBe('AG403')
})

test('the login that signs people in puts in no secret of its own, either', async () => {
  const system = new pg.Client(stack.systemDatabase)
  await system.connect()
  onTestFinished(() => system.end())
  await system.query('begin')
  await enter(system, {
    credential: { type: 'system', userId: ours.userId },
    scope: 'system',
    action: 'session.confirm',
  })
  const refused = await system
    .query(`update totp_secrets set secret = 'x' where user_id = $1`, [ours.userId])
    .catch((error: { code: string }) => error.code)
  await system.query('rollback')
  expect(refused).toBe('42501')
  // Nor does it sign anybody up.
  const seals = [hash('sha256', 'y')]
  for (const more of [{ action: 'user.create' }, { action: 'session.create', seals }]) {
    await system.query('begin')
    await enter(system, { credential: { type: 'system' }, scope: 'system', ...more })
    const signedUp = system.query(
      `select app.register(gen_random_uuid(), 'x@y.example', null, null, 'y', gen_random_uuid())`,
    )
    await expect(signedUp).rejects.toMatchObject({ code: 'AP403' })
    await system.query('rollback')
  }
})

test('what the Worker has signed is stored', async () => {
  await login.query('begin')
  await enter(login, { ...(await claimOf(ours, 'recovery_code.create')), seals: [hash('sha256', 'x')] })
  const { rowCount } = await login.query(newCode)
  await login.query('rollback')
  expect(rowCount).toBe(1)
})

/** The gate of these actions only lets what they do. */
const actions: [string, string][] = [
  ['update memberships', 'member.update'],
  ['delete from memberships', 'member.remove'],
  ['insert into api_keys', 'api_key.create'],
  ['insert into invites', 'invite.create'],
  ['insert into assets', 'asset.create'],
  ['update workspaces', 'workspace.update'],
]

test.each(ofRoles)('for %s: %s', async (role, _, statement, outcome) => {
  const { userId } = await addMember(ours.workspaceId, role)
  const [, action] = actions.find(([start]) => statement(ours).startsWith(start)) ?? []
  const claim = { ...(await claimOf({ ...ours, userId }, action)), seals: [hash('sha256', 'sealed')] }
  expect(await attempt(claim, statement(ours))).toBe(outcome)
})

test.each([
  ['workspace.get', newApiKey(`app.user_id(), '{asset.list}'`), '42501'],
  ['workspace.get', newInvite(`app.user_id(), 'viewer'`), '42501'],
  ['workspace.get', `update memberships set role = 'admin' where role = 'viewer'`, 0],
  ['workspace.get', `delete from memberships where role = 'viewer'`, 0],
  ['api_key.create', 'update api_keys set revoked_at = now()', 0],
  ['api_key.create', newApiKey(`app.user_id(), '{asset.list}'`).replace('sealed', 'another'), '42501'],
  ['invite.create', newInvite(`app.user_id(), 'viewer'`).replace('sealed', 'another'), '42501'],
])('an owner in %s lets nobody in, and shuts nobody out, by %s', async (action, statement, outcome) => {
  await addMember(ours.workspaceId, 'viewer')
  const claim = { ...(await claimOf(ours, action)), seals: [hash('sha256', 'sealed')] }
  expect(await attempt(claim, statement)).toBe(outcome)
})

/** Each of these leaves an audit row where the API does it. */
test.each([
  ['usage.get', newAsset('app.uuid_v7()', 1), '42501'],
  ['usage.get', `update assets set tags = '{x}'`, 0],
  [
    'asset.list',
    `insert into asset_exports (id, asset_id, channel, output_id) select app.uuid_v7(), id, 'web', app.uuid_v7() from assets`,
    '42501',
  ],
  ['asset.list', newEndpoint, '42501'],
  ['asset.list', `update webhook_endpoints set url = 'x', disabled_at = null`, 0],
  ['asset.list', `update webhook_endpoints set deleted_at = now()`, 0],
  ['webhook.update', 'delete from webhook_endpoints', 0],
  ['asset.list', 'delete from invites', 0],
  ['asset.list', 'update api_keys set revoked_at = now()', 0],
  ['api_key.revoke', 'update api_keys set revoked_at = null', '42501'],
])('an owner in %s does nothing that the audit log misses: %s', async (action, statement, outcome) => {
  expect(await attempt(await claimOf(ours, action), statement)).toBe(outcome)
})

test('a key reads the audit log for what its scopes say, and for nothing else', async () => {
  const { key } = await newKey(ours.client, ['asset.list', 'audit.list'])
  const claim = { credential: { type: 'api_key', hash: hash('sha256', key) }, scope: 'workspace' }
  const read = async (action: string) => {
    await login.query('begin')
    await enter(login, { ...claim, action })
    const { rowCount } = await login.query('select ip from audit_logs limit 1')
    await login.query('rollback')
    return rowCount
  }
  expect([await read('asset.list'), await read('audit.list')]).toEqual([0, 1])
})

test('a note that was sent as often as can be counted is sent again', async () => {
  const [note] = await asOwner<{ subject_id: string }>(
    `insert into outbox (workspace_id, kind, subject_id, sends, available_at)
     values ($1, 'object.delete', gen_random_uuid(), 1000000, now()) returning subject_id`,
    [ours.workspaceId],
  )
  await control('cron')
  await waitFor('its job is done', async () => {
    const left = await asOwner('select from outbox where subject_id = $1', [note?.subject_id])
    return left.length === 0
  })
})

test.each(['api_key.create', 'workspace.get'])('behind %s no password hash', async (action) => {
  await login.query('begin')
  await enter(login, await claimOf(ours, action))
  const { rows } = await login.query('select app.own_password_hash() as hash')
  await login.query('rollback')
  expect(rows).toEqual([{ hash: null }])
})

test.each([
  ['assets', 'asset.delete', 'delete from assets'],
  ['memberships', 'member.update', `update memberships set role = 'owner'`],
])('no change of %s behind a context that is thrown away', async (_, action, change) => {
  const statement = `with changed as (${change} returning 1) select set_config('app.context', '', true) from changed`
  expect(await attempt(await claimOf(ours, action), statement)).toBe('42501')
})

test('the settings of earlier times change nothing that is seen', async () => {
  await login.query('begin')
  await enter(login, await claimOf(ours))
  await login.query(`select set_config('app.workspace_id', $1, true), set_config('app.user_id', $2, true)`, [
    theirs.workspaceId,
    theirs.userId,
  ])
  const { rows } = await login.query('select distinct workspace_id from assets')
  await login.query('rollback')
  expect(rows).toEqual([{ workspace_id: ours.workspaceId }])
})

test('a context that was good in one transaction is none in the next', async () => {
  await login.query('begin')
  await enter(login, await claimOf(theirs))
  const { rows } = await login.query<{ context: string }>(`select current_setting('app.context') as context`)
  await login.query('commit')
  await login.query('begin')
  await login.query(`select set_config('app.context', $1, true)`, [rows[0]?.context])
  const refused = await login
    .query('select count(*) from assets')
    .catch((error: { code: string }) => error.code)
  await login.query('rollback')
  expect(refused).toBe('42501')
})

test('a context is no claim: what the gate has signed lets nobody in again', async () => {
  await login.query('begin')
  await enter(login, await claimOf(ours))
  const refused = await login
    .query(
      `select app.enter(substr(current_setting('app.context'), 65), left(current_setting('app.context'), 64))`,
    )
    .catch((error: { code: string }) => error.code)
  await login.query('rollback')
  expect(refused).toBe('AG503')
})
