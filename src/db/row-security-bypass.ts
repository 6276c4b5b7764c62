import type { Db } from './connect.ts'

type Role = { name: string; superuser: boolean; bypasses: boolean }

/**
 * Why Postgres would not keep tenants apart for the role that we connect as, or null when it does.
 *
 * @see https://www.postgresql.org/docs/current/ddl-rowsecurity.html
 */
export async function rowSecurityBypass(db: Db): Promise<string | null> {
  const role = await db('pg_roles')
    .whereRaw('rolname = current_user')
    .first<Role>('rolname as name', 'rolsuper as superuser', 'rolbypassrls as bypasses')
  const attribute = role.superuser ? 'a superuser' : role.bypasses ? 'a BYPASSRLS role' : null
  if (attribute === null) return null
  return `The database role ${role.name} is ${attribute}, for which row security does not keep conferences apart. Let DATABASE_URL name an ordinary role that owns its database.`
}
