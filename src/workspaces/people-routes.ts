/** The routes of members and invites. */
import { z } from 'zod'
import { roles } from '../db/schema.ts'
import {
  createRoute,
  createRouter,
  Email,
  IdPath,
  json,
  jsonBody,
  jsonProblems,
  listOf,
  operation,
  Paging,
  problemsOf,
  Timestamp,
  toPage,
} from '../http.ts'
import { acceptInvite, createInvite, deleteInvite, type Invite, listInvites } from './invites.ts'
import { changeRole, listMembers, type Member, removeMember, transferWorkspace } from './members.ts'
import { presentWorkspace, WorkspaceView } from './routes.ts'

const tag = 'Workspaces'
const uuidPath = (name: string) => z.uuid().openapi({ param: { name, in: 'path' } })

const MemberView = z
  .object({
    userId: z.uuid(),
    email: z.email(),
    name: z.string().nullable(),
    role: z.enum(roles),
    createdAt: Timestamp,
  })
  .openapi('Member')

const presentMember = (row: Member): z.output<typeof MemberView> => ({
  userId: row.id,
  email: row.email,
  name: row.name,
  role: row.role,
  createdAt: row.createdAt.toISOString(),
})

const InviteView = z
  .object({ id: z.uuid(), email: z.email(), role: z.enum(roles), expiresAt: Timestamp, createdAt: Timestamp })
  .openapi('Invite')

const presentInvite = (row: Invite): z.output<typeof InviteView> => ({
  id: row.id,
  email: row.email,
  role: row.role,
  expiresAt: row.expiresAt.toISOString(),
  createdAt: row.createdAt.toISOString(),
})

const membersRoute = createRoute({
  method: 'get',
  path: '/{id}/members',
  ...operation('member.list', { tag, summary: 'The people of a workspace', workspaceInPath: true }),
  request: { params: IdPath, query: Paging },
  responses: { 200: json(listOf(MemberView), 'A page of members'), ...problemsOf('not_found') },
})

const memberPath = IdPath.extend({ userId: uuidPath('userId') })

const changeRoleRoute = createRoute({
  method: 'patch',
  path: '/{id}/members/{userId}',
  ...operation('member.update', {
    tag,
    summary: "Change a member's role, up to one's own",
    role: 'admin',
    workspaceInPath: true,
  }),
  request: { params: memberPath, ...jsonBody(z.strictObject({ role: z.enum(roles) })) },
  responses: {
    200: json(MemberView, 'The member'),
    ...problemsOf(...jsonProblems, 'not_found', 'last_owner'),
  },
})

const removeRoute = createRoute({
  method: 'delete',
  path: '/{id}/members/{userId}',
  ...operation('member.remove', {
    tag,
    summary: 'Leave, or remove somebody (admin)',
    workspaceInPath: true,
  }),
  request: { params: memberPath },
  responses: { 204: { description: 'Gone' }, ...problemsOf('not_found', 'last_owner') },
})

const transferRoute = createRoute({
  method: 'post',
  path: '/{id}/transfer',
  ...operation('workspace.transfer', {
    tag,
    summary: 'Make another member the owner and become an admin',
    role: 'owner',
    workspaceInPath: true,
  }),
  request: { params: IdPath, ...jsonBody(z.strictObject({ userId: z.uuid() })) },
  responses: { 204: { description: 'Transferred' }, ...problemsOf(...jsonProblems, 'not_found') },
})

const inviteRoute = createRoute({
  method: 'post',
  path: '/{id}/invites',
  ...operation('invite.create', {
    tag,
    summary: 'Invite somebody; the token is shown once',
    role: 'admin',
    workspaceInPath: true,
    limits: ['invite'],
  }),
  request: { params: IdPath, ...jsonBody(z.strictObject({ email: Email, role: z.enum(roles) })) },
  responses: {
    201: {
      ...json(InviteView.extend({ token: z.string() }), 'The invite'),
      headers: { Location: { schema: { type: 'string' } } },
    },
    ...problemsOf(...jsonProblems, 'not_found', 'plan_limit_reached', 'already_member'),
  },
})

const invitesRoute = createRoute({
  method: 'get',
  path: '/{id}/invites',
  ...operation('invite.list', {
    tag,
    summary: 'Open invites, newest first',
    role: 'admin',
    workspaceInPath: true,
  }),
  request: { params: IdPath, query: Paging },
  responses: { 200: json(listOf(InviteView), 'A page of invites'), ...problemsOf('not_found') },
})

const deleteInviteRoute = createRoute({
  method: 'delete',
  path: '/{id}/invites/{inviteId}',
  ...operation('invite.delete', { tag, summary: 'Withdraw an invite', role: 'admin', workspaceInPath: true }),
  request: { params: IdPath.extend({ inviteId: uuidPath('inviteId') }) },
  responses: { 204: { description: 'Withdrawn' }, ...problemsOf('not_found') },
})

const acceptRoute = createRoute({
  method: 'post',
  path: '/invites/accept',
  ...operation('invite.accept', { tag, summary: 'Join the workspace of an invite to me', scope: 'user' }),
  request: jsonBody(z.strictObject({ token: z.string().max(200) })),
  responses: {
    200: json(WorkspaceView, 'The workspace'),
    ...problemsOf(...jsonProblems, 'not_found', 'invite_used', 'invite_expired', 'plan_limit_reached'),
  },
})

export const peopleRoutes = createRouter()
  .openapi(membersRoute, async (c) => {
    const query = c.req.valid('query')
    return c.json(toPage(await listMembers(c.var.ctx, query), query.limit, presentMember), 200)
  })
  .openapi(changeRoleRoute, async (c) =>
    c.json(
      presentMember(await changeRole(c.var.ctx, c.req.valid('param').userId, c.req.valid('json').role)),
      200,
    ),
  )
  .openapi(removeRoute, async (c) => {
    await removeMember(c.var.ctx, c.req.valid('param').userId)
    return c.body(null, 204)
  })
  .openapi(transferRoute, async (c) => {
    await transferWorkspace(c.var.ctx, c.req.valid('json').userId)
    return c.body(null, 204)
  })
  .openapi(inviteRoute, async (c) => {
    const { token, ...invite } = await createInvite(c.var.ctx, c.req.valid('json'))
    c.header('cache-control', 'no-store')
    c.header('location', `/api/v1/workspaces/${invite.workspaceId}/invites/${invite.id}`)
    return c.json({ ...presentInvite(invite), token }, 201)
  })
  .openapi(invitesRoute, async (c) => {
    const query = c.req.valid('query')
    return c.json(toPage(await listInvites(c.var.ctx, query), query.limit, presentInvite), 200)
  })
  .openapi(deleteInviteRoute, async (c) => {
    await deleteInvite(c.var.ctx, c.req.valid('param').inviteId)
    return c.body(null, 204)
  })
  .openapi(acceptRoute, async (c) =>
    c.json(presentWorkspace(await acceptInvite(c.var.ctx, c.req.valid('json').token)), 200),
  )
