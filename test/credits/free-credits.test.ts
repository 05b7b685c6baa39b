/** Free credits: once a proved person, within a budget of all, and held where they look farmed. */
import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { times } from '../support/at-once.ts'
import { type Client, createClient } from '../support/client.ts'
import { control, stack } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { breakModels, finished, generate, newPrompt } from '../support/generations.ts'
import { mailTo, tokenIn } from '../support/mail.ts'
import { addMember, newEmail, newKey, newTenant, PASSWORD, signUp } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

const NOWHERE = '00000000-0000-0000-0000-000000000000'

interface Usage {
  plan: string
  credits: { granted: number; remaining: number; free: { state: string } | null }
}

const usage = async (client: Client) => (await client.get<Usage>('/usage')).body
const stateOf = async (client: Client) => {
  const { credits } = await usage(client)
  return [credits.granted, credits.free?.state]
}
const newWorkspace = async (client: Client) => {
  const { body } = await client.post<{ id: string }>('/workspaces', { name: 'Shop' })
  return client.with({ workspaceId: body.id })
}
const ask = (client: Client) => client.post('/generations', { task: 'scene', prompt: 'x' })
const setEmail = (userId: string, email: string) =>
  asOwner('update users set email = $2 where id = $1', [userId, email])
/** The end of an account that was deleted. */
const erase = async (userId: string) => {
  await asOwner('update users set leaves_at = now() where id = $1', [userId])
  await control('enqueue', [{ kind: 'user.erase', workspaceId: NOWHERE, subjectId: userId }])
  await waitFor('the account is gone', async () => {
    return (await asOwner('select from users where id = $1', [userId])).length === 0
  })
}
/** As if so many credits of somebody's were used elsewhere this month. */
const use = (userId: string, credits: number) =>
  asOwner('update free_grants set used = used + $2 where user_id = $1', [userId, credits])
/** What is used of somebody's free credits: as the grant says, and as the ledger does. */
const usedOf = async (userId: string) => {
  const [row] = await asOwner<{ used: number; spent: number }>(
    `select g.used, (select coalesce(sum(case e.kind when 'reserve' then e.credits when 'refund' then -e.credits else 0 end), 0)::int
       from credit_entries e where e.grant_id = g.id) spent
       from free_grants g where g.user_id = $1`,
    [userId],
  )
  return row
}
const remove = async (client: Client) =>
  expect((await client.delete(`/workspaces/${client.workspaceId}`)).status).toBe(204)
const restore = async (client: Client) =>
  expect((await client.post(`/workspaces/${client.workspaceId}/restore`)).status).toBe(200)

test('a person has them in one workspace, and sees why not in the next', async () => {
  const { client } = await signUp()
  const [first, second] = [await newWorkspace(client), await newWorkspace(client)]
  expect([await stateOf(first), await stateOf(second)]).toEqual([
    [50, 'granted'],
    [0, 'elsewhere'],
  ])
  expect((await ask(first)).status).toBe(202)
  expect(await ask(second)).toMatchObject({ status: 402, body: { code: 'insufficient_credits' } })
  const quote = await second.post('/generations/quote', { task: 'scene', prompt: 'x' })
  expect(quote.body).toMatchObject({ accepted: false, problem: { code: 'insufficient_credits' } })
  expect((await first.post('/generations/quote', { task: 'scene', prompt: 'x' })).body).toMatchObject({
    accepted: true,
  })
})

test('of ten workspaces made at once one has them', async () => {
  const { client } = await signUp()
  const made = await times(10, () => newWorkspace(client))
  const states = await Promise.all(made.map(stateOf))
  expect(states.filter(([granted]) => granted === 50)).toHaveLength(1)
})

test('who has proved nothing has none, until they do', async () => {
  const email = newEmail()
  const { body } = await createClient().post<{ access_token: string }>('/auth/register', {
    email,
    password: PASSWORD,
  })
  const client = createClient({ token: body.access_token })
  const shops = [await newWorkspace(client), await newWorkspace(client)] as [Client, Client]
  expect(await stateOf(shops[0])).toEqual([0, 'unverified'])
  expect((await ask(shops[0])).status).toBe(402)
  await client.post('/auth/email/verify/confirm', { token: tokenIn(await mailTo(email, /Confirm/)) })
  expect([await stateOf(shops[0]), await stateOf(shops[1])]).toEqual([
    [50, 'granted'],
    [0, 'elsewhere'],
  ])
  expect((await ask(shops[0])).status).toBe(202)
})

test('addresses that differ by what their owner may add are one person', async () => {
  const name = `a${Date.now()}`
  const persons = [
    [`${name}@gmail.com`, `${name.slice(0, 3)}.${name.slice(3)}+shop@googlemail.com`, false],
    [`${name}@shop-${name}.example`, `${name}+2@shop-${name}.example`, false],
    [`b.${name}@shop-${name}.example`, `b${name}@shop-${name}.example`, true],
    [`c${name}@gmail.com`, `c${name}@shop-${name}.example`, true],
  ] as const
  for (const [one, other, areTwo] of persons) {
    const [first, second] = [await signUp(), await signUp()]
    await setEmail(first.userId, one)
    await setEmail(second.userId, other)
    expect(await stateOf(await newWorkspace(first.client)), one).toEqual([50, 'granted'])
    expect((await stateOf(await newWorkspace(second.client)))[0], other).toBe(areTwo ? 50 : 0)
  }
})

test('another address of the same account gives none again, nor does the former one to somebody else', async () => {
  const { client, userId, email } = await signUp()
  await newWorkspace(client)
  await setEmail(userId, newEmail())
  expect(await stateOf(await newWorkspace(client))).toEqual([0, 'elsewhere'])
  const other = await signUp()
  await setEmail(other.userId, email)
  expect((await stateOf(await newWorkspace(other.client)))[0]).toBe(0)
})

test('a workspace that is deleted, or not free any more, is replaced, and what was used there this month is not had again', async () => {
  const { client, userId } = await signUp()
  const first = await newWorkspace(client)
  await finished(first, (await generate(first)).id)
  await remove(first)
  const second = await newWorkspace(client)
  expect((await usage(second)).credits).toMatchObject({
    granted: 46,
    remaining: 46,
    free: { state: 'granted' },
  })
  await asOwner('select app.set_plan($1, $2)', [second.workspaceId, 'pro'])
  expect((await usage(second)).credits).toMatchObject({ granted: 1000, free: null })
  const third = await newWorkspace(client)
  expect(await stateOf(third)).toEqual([46, 'granted'])
  await use(userId, 43)
  expect(await stateOf(third)).toEqual([3, 'granted'])
  expect(await ask(third)).toMatchObject({ status: 402, body: { code: 'insufficient_credits' } })
  const quote = await third.post('/generations/quote', { task: 'scene', prompt: 'x' })
  expect(quote.body).toMatchObject({ accepted: false, problem: { code: 'insufficient_credits' } })
  // Of another month.
  await asOwner(`update free_grants set period = period - interval '1 month' where user_id = $1`, [userId])
  expect(await stateOf(third)).toEqual([50, 'granted'])
  expect((await ask(third)).status).toBe(202)
  expect((await usedOf(userId))?.used).toBe(4)
  expect(await asOwner('select from free_grants where user_id = $1', [userId])).toHaveLength(1)
})

test.each(['older', 'newer'])(
  'with a workspace that is deleted they go on to another, %s one, and come back when it is restored',
  async (which) => {
    const { client } = await signUp()
    const first = await newWorkspace(client)
    const older = which === 'older' && (await newWorkspace(client))
    await finished(first, (await generate(first)).id)
    await remove(first)
    const second = older || (await newWorkspace(client))
    expect(await stateOf(second)).toEqual([46, 'granted'])
    await restore(first)
    expect([await stateOf(first), await stateOf(second)]).toEqual([
      [50, 'granted'],
      [0, 'elsewhere'],
    ])
    expect((await usage(first)).credits.remaining).toBe(46)
    expect(await ask(second)).toMatchObject({ status: 402, body: { code: 'insufficient_credits' } })
    expect((await ask(first)).status).toBe(202)
    await restore(first)
    expect(await stateOf(first)).toEqual([50, 'granted'])
  },
)

test('used elsewhere since, they stay there when the workspace is restored, and come back when that one goes', async () => {
  const { client } = await signUp()
  const first = await newWorkspace(client)
  await remove(first)
  const second = await newWorkspace(client)
  await finished(second, (await generate(second)).id)
  await restore(first)
  expect([await stateOf(first), await stateOf(second)]).toEqual([
    [0, 'elsewhere'],
    [50, 'granted'],
  ])
  await remove(second)
  expect(await stateOf(first)).toEqual([46, 'granted'])
  await restore(second)
  expect([await stateOf(first), await stateOf(second)]).toEqual([
    [0, 'elsewhere'],
    [50, 'granted'],
  ])
})

test('whose workspace a co-owner deletes has theirs in another, until it is restored', async () => {
  const { client, workspaceId } = await newTenant()
  const second = await newWorkspace(client)
  const other = await addMember(workspaceId, 'owner')
  await newWorkspace(other.client)
  await remove(other.client)
  expect(await stateOf(second)).toEqual([50, 'granted'])
  await restore(other.client)
  expect([await stateOf(client), await stateOf(second)]).toEqual([
    [50, 'granted'],
    [0, 'elsewhere'],
  ])
})

test.each([
  ['leaves', 'self', 'delete'],
  ['steps down', 'self', 'patch'],
  ['is removed', 'other', 'delete'],
  ['is demoted', 'other', 'patch'],
] as const)('an owner who %s has theirs in another workspace', async (_, by, how) => {
  const { client, userId, workspaceId } = await newTenant()
  const second = await newWorkspace(client)
  const other = await addMember(workspaceId, 'owner')
  const own = await newWorkspace(other.client)
  await use(userId, 10)
  // A key is no caller whose first job would fund the second one.
  const { key } = await newKey(second, ['usage.get'])
  const reader = createClient({ token: key })
  expect(await stateOf(reader)).toEqual([0, 'elsewhere'])
  const actor = by === 'self' ? client : other.client
  const path = `/workspaces/${workspaceId}/members/${userId}`
  const { status } = how === 'delete' ? await actor.delete(path) : await actor.patch(path, { role: 'admin' })
  expect(status).toBe(how === 'delete' ? 204 : 200)
  expect(await stateOf(reader)).toEqual([40, 'granted'])
  expect((await ask(second)).status).toBe(202)
  expect([await stateOf(other.client), await stateOf(own)]).toEqual([
    [0, 'elsewhere'],
    [50, 'granted'],
  ])
  // Nor do they come with what they are made an owner of next.
  await asOwner(
    `insert into memberships (workspace_id, user_id, role) values ($1, $2, 'owner') on conflict (workspace_id, user_id) do update set role = 'owner'`,
    [workspaceId, userId],
  )
  expect(await stateOf(client)).toEqual([0, 'elsewhere'])
  expect((await ask(client)).status).toBe(402)
  expect(await stateOf(second)).toEqual([40, 'granted'])
})

test('who had theirs where they are no owner any more has them with a job in one of theirs alone, less what was used', async () => {
  const { client, userId, workspaceId } = await newTenant()
  const heir = await addMember(workspaceId, 'owner')
  await use(userId, 20)
  // Nobody has passed them on, and then somebody else has theirs there.
  await asOwner('delete from memberships where workspace_id = $1 and user_id = $2', [workspaceId, userId])
  expect((await ask(heir.client)).status).toBe(202)
  const shop = await newTenant()
  await asOwner('update memberships set user_id = $2 where workspace_id = $1', [shop.workspaceId, userId])
  const taken = client.with({ workspaceId: shop.workspaceId })
  expect(await stateOf(taken)).toEqual([30, 'granted'])
  expect((await ask(taken)).status).toBe(202)
  expect(await asOwner('select used from free_grants where workspace_id = $1', [shop.workspaceId])).toEqual([
    { used: 24 },
  ])
})

test('who hands a workspace over and has it back has theirs again', async () => {
  const giver = await newTenant()
  const other = await addMember(giver.workspaceId, 'member')
  const transfer = async (from: Client, userId: string) =>
    expect((await from.post(`/workspaces/${giver.workspaceId}/transfer`, { userId })).status).toBe(204)
  await use(giver.userId, 10)
  await transfer(giver.client, other.userId)
  expect((await ask(other.client)).status).toBe(202)
  await transfer(other.client, giver.userId)
  expect(await stateOf(giver.client)).toEqual([44, 'granted'])
  expect((await usage(giver.client)).credits.remaining).toBe(40)
})

test('what comes back comes back to who paid, wherever they have theirs by now', async () => {
  const { client, userId, workspaceId } = await newTenant()
  const second = await newWorkspace(client)
  const other = await addMember(workspaceId, 'member')
  await newWorkspace(other.client)
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'slow', times: 2, delayMs: 20_000 })
  const job = await generate(client, { prompt })
  expect(await usedOf(userId)).toEqual({ used: 4, spent: 4 })
  const path = `/workspaces/${workspaceId}/transfer`
  expect((await client.post(path, { userId: other.userId })).status).toBe(204)
  expect((await usage(second)).credits).toMatchObject({ granted: 46, remaining: 46 })
  expect((await client.post(`/generations/${job.id}/cancel`)).status).toBe(200)
  expect(await stateOf(second)).toEqual([50, 'granted'])

  // A deletion ends jobs by itself.
  await generate(second, { prompt })
  const third = await newWorkspace(client)
  await remove(second)
  await waitFor('what was reserved there is back', async () => (await usedOf(userId))?.used === 0)
  expect(await usedOf(userId)).toEqual({ used: 0, spent: 0 })
  expect((await usage(third)).credits).toMatchObject({ granted: 50, remaining: 50 })
})

test('half used, they give no more than those of a month, wherever they move while jobs are asked for', async () => {
  for (let round = 0; round < 5; round++) {
    const { client, userId, workspaceId } = await newTenant()
    const [first, second] = [client, await newWorkspace(client)]
    const other = await addMember(workspaceId, 'owner')
    await newWorkspace(other.client)
    // Enough is left for two of them, whichever they are.
    await use(userId, 40)
    const role = (is: string) =>
      other.client.patch(`/workspaces/${workspaceId}/members/${userId}`, { role: is })
    const moves = async () => {
      const answers = [await role('admin'), await role('owner')]
      answers.push(await second.delete(`/workspaces/${second.workspaceId}`))
      answers.push(await second.post(`/workspaces/${second.workspaceId}/restore`))
      return answers
    }
    /** Some are canceled at once. */
    const job = async (shop: Client, n: number) => {
      const asked = await shop.post<{ id: string }>('/generations', { task: 'scene', prompt: 'x' })
      return asked.status === 202 && n % 3 === 0
        ? [asked, await shop.post(`/generations/${asked.body.id}/cancel`)]
        : [asked]
    }
    const [moved, ...answers] = await times(13, (n) => (n === 0 ? moves() : job(n % 2 ? first : second, n)))
    expect(moved?.map(({ status }) => status)).toEqual([200, 200, 204, 200])
    for (const { status } of answers.flat()) expect([200, 202, 402, 404, 409]).toContain(status)
    // Whatever is left may be used, wherever they are by now, and no more.
    for (const shop of [first, second]) while ((await ask(shop)).status === 202);
    const { used, spent } = (await usedOf(userId)) ?? {}
    expect(used).toBe(48)
    expect(spent).toBe(8)
    const jobs = await asOwner<{ net: number }>(
      `select coalesce(sum(case kind when 'reserve' then credits when 'refund' then -credits else 0 end), 0)::int net
         from credit_entries where workspace_id = any($1)`,
      [[first.workspaceId, second.workspaceId]],
    )
    expect(jobs).toEqual([{ net: 8 }])
  }
})

test('where those of somebody were whose account is gone, the owner who is left has their own', async () => {
  const { client, userId, workspaceId } = await newTenant()
  const heir = await addMember(workspaceId, 'owner')
  const shop = heir.client
  await client.delete('/auth/me')
  await erase(userId)
  expect(await stateOf(shop)).toEqual([50, 'granted'])
  expect(await stateOf(await newWorkspace(heir.client))).toEqual([0, 'elsewhere'])
})

test('who comes back with the same address has the same, whatever their address is then', async () => {
  const { client, userId, email } = await signUp()
  await newWorkspace(client)
  await use(userId, 10)
  await client.delete('/auth/me')
  await erase(userId)
  const again = await signUp()
  await setEmail(again.userId, email)
  expect(await stateOf(await newWorkspace(again.client))).toEqual([40, 'granted'])
  await setEmail(again.userId, newEmail())
  expect(await stateOf(await newWorkspace(again.client))).toEqual([0, 'elsewhere'])
})

test.each(['none', 'lost'])(
  'two owners who are funded at once, with %s before, share no workspace',
  async (before) => {
    const { userId, workspaceId, client } = await newTenant()
    const other = await addMember(workspaceId, 'owner')
    const { workspaceId: second } = await newWorkspace(client)
    for (const one of [userId, other.userId])
      await asOwner(
        `insert into memberships (workspace_id, user_id, role) select w, $2, 'owner' from unnest($1::uuid[]) w on conflict do nothing`,
        [[workspaceId, second], one],
      )
    await asOwner('delete from free_grants where user_id = $1', [userId])
    if (before === 'lost')
      await asOwner(
        `insert into free_grants (person, user_id, workspace_id, period, domain)
       select app.person_of(u.email), u.id, gen_random_uuid(), now(), 'x' from users u where u.id = $1`,
        [other.userId],
      )
    const [one, two] = [new pg.Client(stack.adminDatabase), new pg.Client(stack.adminDatabase)]
    await Promise.all([one.connect(), two.connect()])
    onTestFinished(() => Promise.all([one.end(), two.end()]).then(() => undefined))
    for (const login of [one, two]) {
      await login.query('begin')
      await login.query(`select app.set_context('{"actor": "system:"}')`)
    }
    await one.query('select app.fund($1)', [userId])
    const waiting = two.query('select app.fund($1)', [other.userId])
    await waitFor('the second waits', async () => {
      const waits = `select from pg_stat_activity where wait_event_type = 'Lock' and query like 'select app.fund(%'`
      return (await asOwner(waits)).length > 0
    })
    await one.query('commit')
    await waiting
    await two.query('commit')
    const grants = await asOwner('select user_id, workspace_id from free_grants where user_id = any($1)', [
      [userId, other.userId],
    ])
    expect(Object.fromEntries(grants.map((grant) => [grant.user_id, grant.workspace_id]))).toEqual({
      [userId]: workspaceId,
      [other.userId]: second,
    })
  },
)

test('what looks farmed is held: the sixth of a network in a day, and the twenty-first of a mail domain', async () => {
  const network = `203.0.113.${Math.floor(Math.random() * 256)}`
  const farm = async (ip: string | undefined, email: string) => {
    const { client, userId } = await signUp()
    await setEmail(userId, email)
    return newWorkspace(client.with({ ip }))
  }
  const shops: Client[] = []
  for (let i = 0; i < 6; i++) shops.push(await farm(network, newEmail()))
  const states = await Promise.all(shops.map(stateOf))
  expect(states).toEqual([...Array(5).fill([50, 'granted']), [0, 'held']])
  const held = shops[5] as Client
  expect((await ask(held)).status).toBe(402)
  const { body } = await held.get<{ data: object[] }>('/audit-logs?action=credit.hold')
  expect(body.data).toMatchObject([{ actor: { type: 'system' }, after: { reason: 'network' } }])

  // An operator looks at it, and gives them back, or takes others.
  await asOwner('select app.release_free_credits($1)', [held.workspaceId])
  expect(await stateOf(held)).toEqual([50, 'granted'])
  expect((await ask(held)).status).toBe(202)
  await asOwner(`select app.hold_free_credits($1, 'complaints')`, [held.workspaceId])
  expect(await stateOf(held)).toEqual([0, 'held'])
  const log = await held.get<{ data: { action: string }[] }>('/audit-logs?resourceType=workspace')
  const actions = log.body.data.map(({ action }) => action)
  expect(actions.slice(0, 2)).toEqual(['credit.hold', 'credit.release'])
  // Of one transaction, and so of one millisecond.
  expect(actions.slice(2).sort()).toEqual(['credit.hold', 'workspace.create'])
  expect((await held.get('/audit-logs/verify')).body).toMatchObject({ valid: true })
  await expect(asOwner('select app.release_free_credits($1)', [shops[0]?.workspaceId])).rejects.toThrow(
    'not held',
  )

  const domain = `farm-${Date.now()}.example`
  await asOwner(
    `insert into free_grants (person, user_id, workspace_id, period, domain) select gen_random_uuid()::text, gen_random_uuid(), gen_random_uuid(), now(), $1
       from generate_series(1, 20)`,
    [domain],
  )
  expect(await stateOf(await farm(undefined, `x@mail.${domain}`))).toEqual([0, 'held'])
  expect(await stateOf(await farm('127.0.0.1', newEmail()))).toEqual([50, 'granted'])
})

test.each(['app_tenant', 'app_system'])('%s holds, releases and grants nothing', async (role) => {
  const { workspaceId } = await newTenant()
  for (const call of [
    `app.release_free_credits('${workspaceId}')`,
    `app.hold_free_credits('${workspaceId}', 'x')`,
    'app.set_free_budget(null)',
    `app.fund('${workspaceId}')`,
    'app.spend_free(-1000)',
    'app.take_free(-50, 50, now()::date)',
  ]) {
    await expect(asOwner(`set role ${role}; select ${call}`), call).rejects.toThrow(
      'permission denied for function',
    )
  }
  for (const table of ['mails', 'user_exports', 'bounces', 'free_grants', 'free_budget']) {
    await expect(asOwner(`set role ${role}; select * from ${table}`), table).rejects.toThrow(
      'permission denied',
    )
  }
})

test('who is made an owner by others funds nothing of theirs, and keeps their own', async () => {
  const { client, userId, workspaceId } = await newTenant()
  await asOwner('delete from free_grants where workspace_id = $1', [workspaceId])
  await asOwner('update users set email_verified_at = null where id = $1', [userId])
  const guest = await signUp()
  await asOwner(`insert into memberships (workspace_id, user_id, role) values ($1, $2, 'member')`, [
    workspaceId,
    guest.userId,
  ])
  const path = `/workspaces/${workspaceId}/members/${guest.userId}`
  expect((await client.patch(path, { role: 'owner' })).status).toBe(200)
  expect((await stateOf(client))[0]).toBe(0)
  // The oldest workspace of theirs is somebody else's, too.
  expect(await stateOf(await newWorkspace(guest.client))).toEqual([50, 'granted'])
  expect((await stateOf(client))[0]).toBe(0)
})

test('free credits of somebody who is no owner any more move to the next workspace that they make', async () => {
  const { client, userId, workspaceId } = await newTenant()
  const other = await signUp()
  await asOwner(`update memberships set user_id = $3 where workspace_id = $1 and user_id = $2`, [
    workspaceId,
    userId,
    other.userId,
  ])
  await use(userId, 10)
  expect(await stateOf(await newWorkspace(client))).toEqual([40, 'granted'])
  const rows = await asOwner('select from free_grants where user_id = $1', [userId])
  expect(rows).toHaveLength(1)
})

test('free credits do not go with a workspace to a new owner, who may have their own for it', async () => {
  const [giver, rich, newcomer] = [await newTenant(), await newTenant(), await signUp()]
  const second = await newWorkspace(giver.client)
  const shop = giver.client
  const join = ({ userId }: { userId: string }) =>
    asOwner(`insert into memberships (workspace_id, user_id, role) values ($1, $2, 'member')`, [
      giver.workspaceId,
      userId,
    ])
  for (const one of [rich, newcomer]) await join(one)
  const transfer = async (by: Client, { userId }: { userId: string }) =>
    expect((await by.post(`/workspaces/${giver.workspaceId}/transfer`, { userId })).status).toBe(204)
  expect(await stateOf(shop)).toEqual([50, 'granted'])
  expect(await stateOf(second)).toEqual([0, 'elsewhere'])

  // Who has some elsewhere has none here; and who gave it away has theirs where they own, less what they have used.
  await use(giver.userId, 10)
  await transfer(shop, rich)
  expect(await stateOf(shop)).toEqual([0, 'elsewhere'])
  expect(await ask(shop)).toMatchObject({ status: 402, body: { code: 'insufficient_credits' } })
  expect(await stateOf(rich.client)).toEqual([50, 'granted'])
  expect(await stateOf(second)).toEqual([40, 'granted'])

  // Who has none elsewhere has them here with a first job of theirs, but not what was used of this month's.
  const used = await asOwner(
    `insert into workspace_counters (workspace_id, period, charged) values ($1, date_trunc('month', now() at time zone 'utc'), 8)
     on conflict (workspace_id) do update set period = excluded.period, charged = 8 returning charged`,
    [giver.workspaceId],
  )
  expect(used).toHaveLength(1)
  await transfer(rich.client, newcomer)
  const taken = newcomer.client.with({ workspaceId: giver.workspaceId })
  expect((await usage(taken)).credits).toMatchObject({
    granted: 50,
    remaining: 42,
    free: { state: 'granted' },
  })
  const quote = await taken.post('/generations/quote', { task: 'scene', prompt: 'x' })
  expect(quote.body).toMatchObject({ accepted: true })
  // Others are not the ones to decide that, and see what it waits for.
  expect(await stateOf(shop)).toEqual([0, 'waiting'])
  expect((await ask(shop)).status).toBe(402)
  expect((await ask(taken)).status).toBe(202)
  expect(await stateOf(shop)).toEqual([50, 'granted'])
  const grants = await asOwner('select user_id, workspace_id from free_grants where user_id = any($1)', [
    [giver, rich, newcomer].map(({ userId }) => userId),
  ])
  expect(Object.fromEntries(grants.map((one) => [one.user_id, one.workspace_id]))).toEqual({
    [giver.userId]: second.workspaceId,
    [rich.userId]: rich.workspaceId,
    [newcomer.userId]: giver.workspaceId,
  })
})

test('who is handed a workspace keeps their free credits for one that they make', async () => {
  const giver = await newTenant()
  const taker = await addMember(giver.workspaceId, 'member')
  const path = `/workspaces/${giver.workspaceId}/transfer`
  expect((await giver.client.post(path, { userId: taker.userId })).status).toBe(204)
  expect(await asOwner('select from free_grants where user_id = $1', [taker.userId])).toEqual([])
  const own = await newWorkspace(taker.client.with({ workspaceId: undefined }))
  expect(await stateOf(own)).toEqual([50, 'granted'])
  expect(await stateOf(giver.client)).toEqual([0, 'elsewhere'])
  expect(await stateOf(taker.client)).toEqual([0, 'elsewhere'])
})

test("a hold lapses in a week, and an operator's does not", async () => {
  const { client, workspaceId } = await newTenant()
  const hold = (reason: string) =>
    asOwner(
      `update free_grants set held_at = now() - interval '8 days', hold_reason = $2 where workspace_id = $1`,
      [workspaceId, reason],
    )
  await hold('domain')
  expect(await stateOf(client)).toEqual([50, 'granted'])
  await hold('complaints')
  expect(await stateOf(client)).toEqual([0, 'held'])
  for (const reason of ['network', 'domain', null])
    await expect(asOwner('select app.hold_free_credits($1, $2)', [workspaceId, reason])).rejects.toThrow(
      'other words',
    )
})

test.each([
  ['outlook.fr', true],
  ['yahoo.co.jp', true],
  ['btinternet.com', true],
  ['shop.example', false],
])('%s is a mail domain of everybody: %s', async (domain, is) => {
  expect(await asOwner('select app.is_everybodys($1) is_it', [domain])).toEqual([{ is_it: is }])
})
