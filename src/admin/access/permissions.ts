/** What can be allowed; also the scopes of API tokens. */
export const permissions = {
  'studies:read': 'states, timelines and results of studies, without patient data',
  'images:read': 'patient data and images: QIDO-RS, WADO-RS, renderings',
  'instances:write': 'STOW-RS and workitems',
  'findings:judge': 'verdicts on findings',
  'studies:operate': 'retry, analyse again, deliver again, cancel',
  'studies:delete': 'delete studies',
  'reports:read': 'metrics, latency, cost, quality',
  'configuration:read': 'endpoints and their history',
  'configuration:write': 'change endpoints',
  'endpoints:test': 'test connections',
  'canaries:control': 'steer canaries',
  'datasets:export': 'de-identified studies with verdicts',
  'accounts:manage': 'accounts and API tokens',
  'audit:read': 'the audit trail',
} as const
export type Permission = keyof typeof permissions
export const allPermissions = Object.keys(permissions) as Permission[]

const viewer: readonly Permission[] = ['studies:read', 'reports:read']

/** What each role may do. An operator keeps the service running and sees no patient data. */
export const roles = {
  viewer,
  radiologist: [...viewer, 'images:read', 'findings:judge'],
  operator: [...viewer, 'studies:operate', 'configuration:read', 'endpoints:test', 'canaries:control'],
  administrator: allPermissions,
} as const satisfies Record<string, readonly Permission[]>
export type Role = keyof typeof roles
export const roleNames = Object.keys(roles) as [Role, ...Role[]]
