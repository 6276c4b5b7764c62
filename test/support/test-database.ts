import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, inject } from 'vitest'
import { adminQuery, closeAdminSessions, withLogin } from './test-connections.ts'
import { expectOneConference } from './watch-statements.ts'

export type TestDatabase = {
  /**
   * Of the ordinary role that owns the database: row security applies to it. Behind a pooler if the run uses one;
   * see `directUrl`.
   */
  connectionString: string
  /** Of an administrator on the same database, for assertions that look behind row security. */
  adminConnectionString: string
  drop(): Promise<void>
}

/** A new database with the whole schema and no rows, about 40 ms; a clone of the run's template. */
export const createTestDatabase = (): Promise<TestDatabase> =>
  createDatabase(inject('testRun').template)

/** A new database without a schema. */
export const createEmptyDatabase = (): Promise<TestDatabase> => createDatabase('template0')

async function createDatabase(template: string): Promise<TestDatabase> {
  const run = inject('testRun')
  const database = `${run.name}_${randomBytes(5).toString('hex')}`
  // Copying files beats the default, which writes the whole template to the log.
  await adminQuery(
    run.adminConnectionString,
    `create database ${database} owner ${run.name} template ${template} strategy file_copy`,
  )
  const { name: user, password } = run
  const adminConnectionString = withLogin(run.adminConnectionString, { database })
  return {
    connectionString: withLogin(run.pooledConnectionString ?? run.adminConnectionString, {
      user,
      password,
      database,
    }),
    adminConnectionString,
    async drop() {
      await closeAdminSessions(adminConnectionString)
      await adminQuery(
        run.adminConnectionString,
        `drop database if exists ${database} with (force)`,
      )
    },
  }
}

/**
 * One database for the tests of this file (or `describe` block), made before the first and dropped
 * after the last. The strings can be read from `beforeAll` on, not while the file is loaded.
 */
export function useTestDatabase(): Omit<TestDatabase, 'drop'> {
  let database: TestDatabase | undefined
  expectOneConference()
  beforeAll(async () => {
    database = await createTestDatabase()
  })
  afterAll(async () => {
    await database?.drop()
  })
  const made = (): TestDatabase => {
    if (database === undefined) throw new Error('The test database exists from beforeAll on.')
    return database
  }
  return {
    get connectionString() {
      return made().connectionString
    },
    get adminConnectionString() {
      return made().adminConnectionString
    },
  }
}
