import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, describe, expect, it } from 'vitest'
import { checkOutVersion, ROOT } from '../../bench/other-version.ts'
import { benchPurchases } from '../../bench/purchases.ts'
import { directUrl } from '../support/test-connections.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { discardScratchFolder, makeScratchFolder } from '../support/test-servers.ts'

const database = useTestDatabase()

const undoing: (() => Promise<unknown>)[] = []
const onEnd = (undo: () => Promise<unknown>) => void undoing.push(undo)
async function undoAll(): Promise<void> {
  for (const undo of undoing.splice(0).toReversed()) await undo()
}
afterEach(undoAll)

const git = async (...args: string[]) =>
  (await promisify(execFile)('git', args, { cwd: ROOT })).stdout

// A tarball has no other version.
const isRepository = existsSync(join(ROOT, '.git'))

describe('the bench of whole purchases', () => {
  it.runIf(isRepository)(
    'buys through this version and through another one, and leaves nothing',
    async () => {
      const folder = await makeScratchFolder()
      onEnd(() => discardScratchFolder(folder))
      const lines: string[] = []
      const version = join(folder, 'version')
      const figures = await benchPurchases({
        connectionString: directUrl(database.connectionString),
        adminConnectionString: database.adminConnectionString,
        print: (line) => void lines.push(line),
        folder: version,
        onEnd,
        against: 'HEAD',
        rounds: 1,
        purchases: 2,
        inFlight: 2,
      })
      const [head] = lines
      expect(head).toContain('whole purchases: this version against')
      expect(lines.join('\n')).toMatch(/round trips to Postgres +\d+\.\d +\d+\.\d +\d+\.\d\d/)
      expect(lines.join('\n')).not.toContain('NaN')
      expect(figures.map(({ work }) => work)).toEqual([
        'whole purchases, 2 in flight',
        expect.stringContaining('CPU of a purchase'),
        'round trips of a purchase',
      ])
      expect(figures.every(({ ratio }) => ratio > 0)).toBe(true)
      expect(await git('worktree', 'list')).toContain(version)
      await undoAll()
      expect(await git('worktree', 'list')).not.toContain(version)
    },
  )

  it('finds no other version for a ref that this repository does not have', async () => {
    const folder = join(ROOT, 'never-made')
    expect(await checkOutVersion('no-such-version', folder, onEnd)).toBeNull()
    expect(undoing).toEqual([])
  })
})
