import { describe, expect, it } from 'vitest'
import { isBefore, latest } from '../../src/db/replica-condition.ts'
import { withTenant } from '../../src/db/tenant-scope.ts'
import { createWritePositions, deleteOldPositions } from '../../src/db/write-positions.ts'
import { REPLICA_OPERATIONS } from '../../src/http/replica-reads.ts'
import { useTestApp } from '../support/test-app.ts'

const app = useTestApp()
const logger = { warn() {} }
const positions = () => createWritePositions({ db: app.db, rememberSeconds: 60, logger })

describe('positions in the write-ahead log', () => {
  it('are compared as numbers', () => {
    expect(isBefore('0/9', '0/A')).toBe(true)
    expect(isBefore('0/FFFFFFFF', '1/0')).toBe(true)
    expect(isBefore('A/0', '9/FFFFFFFF')).toBe(false)
    expect(isBefore('1/0', '1/0')).toBe(false)
    expect(latest(['0/FF', '1/2', '0/FFF'])).toBe('1/2')
  })

  it('of a reader are the latest of its writers', async () => {
    const { note, find } = positions()
    expect(await find(['key_1', 'conf_1'])).toEqual({ position: null })
    await note('key_1')
    const own = await find(['key_1', 'conf_1'])
    await app.rows(`select pg_logical_emit_message(true, 'test', 'more log')`)
    await Promise.all([note('conf_1'), note('key_2'), note('conf_1')])
    expect(await find(['key_1'])).toEqual(own)
    const all = await find(['key_1', 'conf_1'])
    expect(isBefore(String(own?.position), String(all?.position))).toBe(true)
  })

  it('are unknown for a while after a crash or a promotion has emptied their table', async () => {
    const { note, find } = positions()
    await app.rows('truncate write_positions')
    await note('key_1')
    expect(await find(['key_1'])).toBeNull()
    expect(await find(['key_1'])).toBeNull()
    await app.rows(`update write_positions set noted_at = now() - interval '61 seconds'`)
    expect((await find(['key_1']))?.position).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/)
  })

  it('are deleted after a day', async () => {
    await app.rows(`update write_positions set noted_at = now() - interval '2 days'`)
    await positions().note('key_3')
    await deleteOldPositions(app.db)
    expect(await app.rows('select writer from write_positions order by writer')).toEqual([
      { writer: '' },
      { writer: 'key_3' },
    ])
  })

  it('are not noted when the primary fails, and the write is answered', async () => {
    const lost: object[] = []
    const { note } = createWritePositions({
      db: app.db,
      rememberSeconds: 60,
      logger: { warn: (details) => void lost.push(details) },
    })
    await app.rows('alter table write_positions rename to gone')
    await note('key_1')
    await app.rows('alter table gone rename to write_positions')
    expect(lost).toHaveLength(1)
  })
})

describe('reads that may go to a replica', () => {
  it('are reads of the API', async () => {
    const { body } = await app.request<{
      paths: Record<string, { get?: { operationId: string } }>
    }>('GET', '/openapi.json')
    const reads = Object.values(body.paths).map(({ get }) => get?.operationId)
    for (const operation of REPLICA_OPERATIONS) expect(reads).toContain(operation)
  })

  it('cannot write on the primary either', async () => {
    const write = withTenant({ pool: app.db, replica: null }, { conferenceId: 'conf_1' }, (trx) =>
      trx('write_positions').delete(),
    )
    await expect(write).rejects.toMatchObject({ code: '25006' })
  })
})
