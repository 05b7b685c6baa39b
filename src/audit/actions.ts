/** The closed list of what can be done here: operation id, audit action and log field at once. */
export const actions = [
  'asset.create',
  'asset.delete',
  'asset.download',
  'asset.get',
  'asset.list',
  'asset.update',
  'audit.list',
  'generation.cancel',
  'generation.create',
  'generation.fail',
  'generation.get',
  'generation.list',
  'generation.succeed',
  'model.list',
  'session.create',
  'session.refuse',
  'session.revoke',
  'usage.get',
  'user.create',
  'user.get',
  'workspace.create',
  'workspace.get',
  'workspace.list',
  'workspace.update',
] as const

export type Action = (typeof actions)[number]
