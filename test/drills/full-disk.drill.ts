import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, rm, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { atEnd } from '../cluster/support/at-end.ts'
import { giveToServerUser, type PostgresServer, startPrimary } from '../cluster/support/postgres.ts'
import { describeWith } from '../cluster/support/programs.ts'
import { startServiceProcess, useServiceProcesses } from '../support/service-process.ts'
import { useFakeStripe } from '../support/shop.ts'
import { POLL_OPTIONS } from '../support/timeouts.ts'
import { countKept, startLoad } from './support/load.ts'
import { say } from './support/say.ts'

// Only root can mount a small file system.
const suite = process.getuid?.() === 0 ? describeWith('initdb') : describe.skip

suite('a full disk', () => {
  useServiceProcesses()
  const stripe = useFakeStripe()
  let disk: string
  let primary: PostgresServer
  beforeAll(async () => {
    disk = await mountSmallDisk()
    primary = await startPrimary(
      { min_wal_size: '8MB', max_wal_size: '16MB', wal_recycle: 'off' },
      disk,
    )
  })

  it('refuses writes clearly, loses nothing, and ends when there is space again', async () => {
    const service = await startServiceProcess({
      DATABASE_URL: primary.connectionString,
      STRIPE_API_BASE: stripe.fake.url,
      DATABASE_POOL: '8',
      LEASE_SECONDS: '6',
    })
    await service.ready()
    const load = await startLoad(service, stripe.fake)
    await load.untilRedeemed(5)
    say(
      `${load.acknowledged.redemptions.length} codes redeemed, ${await freeMegabytes(disk)} MB free`,
    )

    const ballast = join(disk, 'ballast')
    await mkdir(ballast)
    await fill(disk, ballast)
    say(`the disk is full: ${await freeMegabytes(disk)} MB free`)
    const refused = async () => {
      // Postgres removes old files of its log.
      await fill(disk, ballast)
      return load.refused()
    }
    await expect.poll(refused, { ...POLL_OPTIONS, timeout: 120_000 }).toBeGreaterThan(7)
    say(
      `${load.refused()} requests refused with 503 and Retry-After, ${load.unclear.length} failed otherwise`,
    )
    expect(await service.request('GET', '/livez')).toMatchObject({ status: 200 })

    await rm(ballast, { recursive: true })
    say(
      `space again: ${await freeMegabytes(disk)} MB free; Postgres ${primary.isRunning() ? 'runs' : 'has ended'}`,
    )
    const before = load.acknowledged.redemptions.length
    const redeemed = async () => {
      // As systemd does: without space for its log, Postgres ends.
      await primary.start()
      return load.acknowledged.redemptions.length
    }
    await expect.poll(redeemed, { ...POLL_OPTIONS, timeout: 120_000 }).toBeGreaterThan(before + 5)
    await load.stop()
    expect(load.unclear).toEqual([])
    const kept = await countKept(primary.query, load, stripe.fake)
    for (const [what, { acknowledged, found }] of Object.entries(kept)) {
      say(`${what}: ${acknowledged} acknowledged, ${found} found`)
      expect(found, what).toBe(acknowledged)
    }
  })
})

/** A file system of 256 MB, for the user of the servers. Not where test runs remove what others have left. */
async function mountSmallDisk(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sponsor-vouchers-disk-'))
  execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', 'size=256M', 'tmpfs', folder])
  atEnd(async () => {
    execFileSync('/bin/umount', ['--lazy', folder])
    await rm(folder, { recursive: true })
  })
  await giveToServerUser(folder)
  return folder
}

const freeMegabytes = async (disk: string) => {
  const { bavail, bsize } = await statfs(disk)
  return Math.round((bavail * bsize) / 2 ** 20)
}

/** Writes a file that takes the space that is left. */
async function fill(disk: string, folder: string): Promise<void> {
  const { bavail, bsize } = await statfs(disk)
  if (bavail === 0) return
  await writeFile(join(folder, randomUUID()), Buffer.alloc(bavail * bsize)).catch(() => {})
}
