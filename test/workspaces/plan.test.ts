/** Plans are changed by the operator, in SQL; the workspace's audit log shows it. */
import { expect, test } from 'vitest'
import { allowances, MAX_FREE_WORKSPACES } from '../../src/plans.ts'
import { type Plan, plans } from '../../src/words.ts'
import { asOwner } from '../support/database.ts'
import { creditsOf, generate } from '../support/generations.ts'
import { newTenant } from '../support/tenants.ts'

const setPlan = (workspaceId: string, plan: string) =>
  asOwner('select app.set_plan($1, $2)', [workspaceId, plan])
const planOf = async (workspaceId: string) => {
  const [row] = await asOwner<{ plan: string }>('select plan from workspaces where id = $1', [workspaceId])
  return row?.plan
}

test('a change takes effect at once and leaves one audit row by the system', async () => {
  const { client, workspaceId } = await newTenant()
  const usage = () => client.get<{ plan: string }>('/usage')
  expect((await usage()).body.plan).toBe('free')
  await setPlan(workspaceId, 'pro')
  expect((await usage()).body.plan).toBe('pro')
  const { body } = await client.get<{ data: unknown[] }>('/audit-logs?action=workspace.update')
  expect(body.data).toEqual([
    expect.objectContaining({
      actor: { type: 'system', id: null },
      resourceType: 'workspace',
      resourceId: workspaceId,
      before: { plan: 'free' },
      after: { plan: 'pro' },
    }),
  ])
  expect((await client.get('/audit-logs/verify')).body).toMatchObject({ valid: true, entries: 2 })
})

test('a plan that shrinks below what was used leaves no credits, and not less', async () => {
  const { client, workspaceId } = await newTenant()
  await setPlan(workspaceId, 'pro')
  for (let i = 0; i < 13; i++) await generate(client)
  await setPlan(workspaceId, 'free')
  expect(await creditsOf(client)).toMatchObject({ granted: 50, remaining: 0 })
  const refused = await client.post('/generations', { task: 'scene', prompt: 'x' })
  expect(refused).toMatchObject({ status: 402, body: { code: 'insufficient_credits' } })
})

test('is refused for an unknown plan, and for a workspace that is unknown or deleted', async () => {
  const { client, workspaceId } = await newTenant()
  await expect(setPlan(workspaceId, 'golden')).rejects.toMatchObject({
    code: '23514',
    constraint: 'workspaces_plan_known',
  })
  await expect(setPlan(crypto.randomUUID(), 'pro')).rejects.toThrow('there is no workspace')
  await client.delete(`/workspaces/${workspaceId}`)
  await expect(setPlan(workspaceId, 'pro')).rejects.toThrow('there is no workspace')
  expect(await planOf(workspaceId)).toBe('free')
})

test.each(['app_tenant', 'app_system'])('is not for %s', async (role) => {
  const { workspaceId } = await newTenant()
  const set = `select app.set_plan('${workspaceId}', 'pro')`
  await expect(asOwner(`set role ${role}; ${set}`)).rejects.toThrow('permission denied for function set_plan')
  expect(await planOf(workspaceId)).toBe('free')
  await asOwner(set)
  expect(await planOf(workspaceId)).toBe('pro')
})

test('holds the limits in the database that it promises', async () => {
  const held = await asOwner<{ plan: Plan; members: number | null; free: number }>(
    'select plan, app.max_members(plan) as members, app.max_free_workspaces() as free from unnest($1::text[]) plan',
    [plans],
  )
  expect(held).toEqual(
    plans.map((plan) => ({ plan, members: allowances[plan].members, free: MAX_FREE_WORKSPACES })),
  )
})
