/** Workspaces: the tenants. */
import { and, desc, eq, lt, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx, Role } from '../context.ts'
import { transact } from '../db/client.ts'
import { currentUserId, memberships, workspaces } from '../db/schema.ts'

type Workspace = typeof workspaces.$inferSelect
export type WorkspaceWithRole = Workspace & { role: Role }

/** From the name, and unique without asking. */
const deriveSlug = (name: string) => {
  const base = name
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 30)
    .replace(/-+$/, '')
  const suffix = Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) =>
    (byte % 36).toString(36),
  ).join('')
  return `${base || 'workspace'}-${suffix}`
}

/** @throws {AppError} slug_taken */
export const createWorkspace = async (
  ctx: Ctx,
  input: { name: string; slug?: string | undefined },
): Promise<WorkspaceWithRole> => {
  const id = uuidv7()
  const {
    created: [workspace],
  } = await transact(ctx, (db) => ({
    // The gate let the caller in without a workspace; this is the one to act in.
    entered: db.execute(sql`select set_config('app.workspace_id', ${id}, true)`),
    created: db
      .insert(workspaces)
      .values({ id, name: input.name, slug: input.slug ?? deriveSlug(input.name) })
      .returning(),
    owner: db.insert(memberships).values({ role: 'owner' }),
  }))
  return { ...(workspace as Workspace), role: 'owner' }
}

/** `limit + 1` of the caller's workspaces, newest first. */
export const listWorkspaces = async (
  ctx: Ctx,
  page: { limit: number; cursor?: string | undefined },
): Promise<WorkspaceWithRole[]> => {
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select({ workspace: workspaces, role: memberships.role })
      .from(memberships)
      .innerJoin(workspaces, eq(workspaces.id, memberships.workspaceId))
      .where(
        and(eq(memberships.userId, currentUserId), page.cursor ? lt(workspaces.id, page.cursor) : undefined),
      )
      .orderBy(desc(workspaces.id))
      .limit(page.limit + 1),
  }))
  return rows.map(({ workspace, role }) => ({ ...workspace, role }))
}

const thisWorkspace = eq(workspaces.id, sql`app.workspace_id()`)

export const getWorkspace = async (ctx: Ctx): Promise<WorkspaceWithRole> => {
  const {
    gate,
    rows: [workspace],
  } = await transact(ctx, (db) => ({ rows: db.select().from(workspaces).where(thisWorkspace) }))
  return { ...(workspace as Workspace), role: gate.role }
}

/** @throws {AppError} slug_taken */
export const updateWorkspace = async (
  ctx: Ctx,
  changes: { name?: string | undefined; slug?: string | undefined },
): Promise<WorkspaceWithRole> => {
  const {
    gate,
    updated: [workspace],
  } = await transact(ctx, (db) => ({
    updated: db
      .update(workspaces)
      .set({ ...(changes.name && { name: changes.name }), ...(changes.slug && { slug: changes.slug }) })
      .where(thisWorkspace)
      .returning(),
  }))
  return { ...(workspace as Workspace), role: gate.role }
}
