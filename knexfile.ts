import type { Knex } from 'knex'
import { migrationSource } from './src/db/migrations.ts'

// For knex's own CLI (`node --import tsx node_modules/knex/bin/cli.js migrate:status`). The service
// and `npm run migrate` use the same migration source through src/db/migrations.ts.
const config: Knex.Config = {
  client: 'pg',
  connection: process.env['DATABASE_URL'] ?? 'postgres://localhost/sponsor_vouchers',
  migrations: { migrationSource, disableMigrationsListValidation: true },
}

// oxlint-disable-next-line import/no-default-export -- knex's CLI reads the default export
export default config
