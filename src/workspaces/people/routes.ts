/** The routes of members and invites. */
import { z } from 'zod'
import { Email, IdPath, json, jsonBody, located, Timestamp, uuidPath } from '../../http/contract.ts'
import { operation } from '../../http/operation.ts'
import { listOf, Paging, toPage } from '../../http/paging.ts'
import { createRouter } from '../../http/router.ts'
import { roles } from '../../words.ts'
import { presentWorkspace, WorkspaceView } from '../routes.ts'
import { acceptInvite, createInvite, deleteInvite, type Invite, listInvites } from './invites.ts'
import { changeRole, listMembers, type Member, removeMember, transferWorkspace } from './members.ts'

const tag = 'Workspaces'

const MemberView = z
  .object({
    userId: z.uuid(),
    email: z.email().nullable(),
    emailVerified: z.boolean().describe('Whether they have proved that the address is theirs'),
    name: z.string().nullable(),
    role: z.enum(roles),
    leavesAt: Timestamp.nullable().describe(
      'When they go, if they have deleted their account: they are no owner to rely on, unless they sign in before',
    ),
    createdAt: Timestamp,
  })
  .openapi('Member')

const presentMember = (row: Member): z.output<typeof MemberView> => ({
  userId: row.userId,
  email: row.email,
  emailVerified: row.emailVerifiedAt !== null,
  name: row.name,
  role: row.role,
  leavesAt: row.leavesAt?.toISOString() ?? null,
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

const ownersNeedProof =
  'To give or take the role `owner` needs a proof that is not older than 15 minutes (`POST /auth/step-up`).'

const memberPath = IdPath.extend({ userId: uuidPath('userId') })

export const routes = createRouter()

routes.openapi(
  operation('member.list', {
    method: 'get',
    path: '/workspaces/{id}/members',
    tag,
    summary: 'The members of a workspace, newest first',
    workspaceInPath: true,
    request: { params: IdPath, query: Paging },
    responses: { 200: json(listOf(MemberView), 'A page of members') },
  }),
  async (c) => {
    const query = c.req.valid('query')
    return c.json(toPage(await listMembers(c.get('ctx'), query), query.limit, presentMember), 200)
  },
)

routes.openapi(
  operation('member.update', {
    method: 'patch',
    path: '/workspaces/{id}/members/{userId}',
    tag,
    summary: "Change a member's role, at most to one's own",
    description: ownersNeedProof,
    role: 'admin',
    workspaceInPath: true,
    request: { params: memberPath, ...jsonBody(z.strictObject({ role: z.enum(roles) }), { role: 'viewer' }) },
    responses: { 200: json(MemberView, 'The member') },
    refuses: ['step_up_required', 'last_owner'],
  }),
  async (c) =>
    c.json(
      presentMember(await changeRole(c.get('ctx'), c.req.valid('param').userId, c.req.valid('json').role)),
      200,
    ),
)

routes.openapi(
  operation('member.remove', {
    method: 'delete',
    path: '/workspaces/{id}/members/{userId}',
    tag,
    summary: 'Leave a workspace, or remove a member (admin)',
    description: `${ownersNeedProof} Whoever has no second factor may leave a workspace that demands one.`,
    workspaceInPath: true,
    request: { params: memberPath },
    responses: { 204: { description: 'Removed' } },
    refuses: ['step_up_required', 'last_owner'],
  }),
  async (c) => {
    await removeMember(c.get('ctx'), c.req.valid('param').userId)
    return c.body(null, 204)
  },
)

routes.openapi(
  operation('workspace.transfer', {
    method: 'post',
    path: '/workspaces/{id}/transfer',
    tag,
    summary: 'Make another member the owner and become an admin',
    description:
      'The new owner is not asked: they can hand it back, or delete it. Free credits are of a person and do not come along; a new owner who never had any has theirs there with the first job that they ask for, or in a workspace that they make before.',
    role: 'owner',
    stepUp: true,
    workspaceInPath: true,
    request: {
      params: IdPath,
      ...jsonBody(z.strictObject({ userId: z.uuid() }), { userId: '0198c1de-6e1f-7c5a-9d35-0a4b6f2f7a11' }),
    },
    responses: { 204: { description: 'Transferred' } },
    refuses: ['last_owner'],
  }),
  async (c) => {
    await transferWorkspace(c.get('ctx'), c.req.valid('json').userId)
    return c.body(null, 204)
  },
)

routes.openapi(
  operation('invite.create', {
    method: 'post',
    path: '/workspaces/{id}/invites',
    tag,
    summary: 'Invite somebody by e-mail address, by mail; the token is shown once',
    description: `The mail's link also proves the address of the invited; the token answered here is good for who has proved it. An invite that is made again replaces the earlier one with its token; links that were mailed stay good, for the newest role. ${ownersNeedProof}`,
    role: 'admin',
    workspaceInPath: true,
    limits: ['invite'],
    request: {
      params: IdPath,
      ...jsonBody(z.strictObject({ email: Email, role: z.enum(roles) }), {
        email: 'bob@example.com',
        role: 'member',
      }),
    },
    responses: {
      201: {
        ...json(
          InviteView.extend({
            token: z.string(),
            mailed: z
              .boolean()
              .describe(
                'Whether this invite is mailed: not by whoever has not proved their own address, and not beyond 5 invites an hour and 20 a day to one address, or 100 mails a day that are caused from one network',
              ),
          }),
          'The invite',
        ),
        headers: located,
      },
    },
    refuses: ['step_up_required', 'plan_limit_reached', 'already_member'],
  }),
  async (c) => {
    const { token, mailed, ...invite } = await createInvite(c.get('ctx'), c.req.valid('json'))
    c.header('cache-control', 'no-store')
    c.header('location', `/api/v1/workspaces/${invite.workspaceId}/invites/${invite.id}`)
    return c.json({ ...presentInvite(invite), token, mailed }, 201)
  },
)

routes.openapi(
  operation('invite.list', {
    method: 'get',
    path: '/workspaces/{id}/invites',
    tag,
    summary: 'Open invites, newest first',
    role: 'admin',
    workspaceInPath: true,
    request: { params: IdPath, query: Paging },
    responses: { 200: json(listOf(InviteView), 'A page of invites') },
  }),
  async (c) => {
    const query = c.req.valid('query')
    return c.json(toPage(await listInvites(c.get('ctx'), query), query.limit, presentInvite), 200)
  },
)

routes.openapi(
  operation('invite.delete', {
    method: 'delete',
    path: '/workspaces/{id}/invites/{inviteId}',
    tag,
    summary: 'Withdraw an invite',
    role: 'admin',
    workspaceInPath: true,
    request: { params: IdPath.extend({ inviteId: uuidPath('inviteId') }) },
    responses: { 204: { description: 'Withdrawn' } },
  }),
  async (c) => {
    await deleteInvite(c.get('ctx'), c.req.valid('param').inviteId)
    return c.body(null, 204)
  },
)

routes.openapi(
  operation('invite.accept', {
    method: 'post',
    path: '/workspaces/invites/accept',
    tag,
    summary: 'Accept an invite and join its workspace',
    scope: 'user',
    request: jsonBody(z.strictObject({ token: z.string().max(200) }), {
      token: 'the one that the invite was made with',
    }),
    responses: { 200: json(WorkspaceView, 'The workspace') },
    refuses: ['not_found', 'email_not_verified', 'invite_used', 'invite_expired', 'plan_limit_reached'],
  }),
  async (c) => c.json(presentWorkspace(await acceptInvite(c.get('ctx'), c.req.valid('json').token)), 200),
)
