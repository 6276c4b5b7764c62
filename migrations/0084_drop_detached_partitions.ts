import type { Knex } from 'knex'
import { dropDetached } from '../src/db/partitions.ts'
import { PARTITIONED } from './0081_partition_keys.ts'

/** Each table is locked alone. */
export const config = { transaction: false }

/** The tables from before the partitions, if they were empty. */
export async function up(knex: Knex): Promise<void> {
  for (const { table } of PARTITIONED) {
    while ((await dropDetached(knex, table)) !== null);
  }
}

/** The previous schema has no such tables either. */
export async function down(): Promise<void> {}
