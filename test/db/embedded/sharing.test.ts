import { readdir } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { startEmbeddedPostgres } from '../../../src/db/embedded/start-embedded-postgres.ts'
import { launcherProcess } from './launcher-process.ts'
import { ask, lives, scratchFolder, serverPid, useReadyCluster } from './scratch.ts'

const readyCluster = useReadyCluster()

it('starts one server when several processes start at the same time on an empty folder', async () => {
  const folder = await scratchFolder()
  const launchers = [1, 2, 3].map(() => launcherProcess({ folder }))
  const facts = await Promise.all(launchers.map((launcher) => launcher.started))
  expect(facts.filter((fact) => !fact.reused)).toHaveLength(1)
  const strings = new Set(facts.map((fact) => fact.connectionString))
  expect(strings.size).toBe(1)
  const [shared = ''] = strings
  const dataFolder = facts[0]?.dataFolder ?? ''
  const pid = await serverPid(dataFolder)
  for (const [index, launcher] of launchers.entries()) {
    expect(await lives(pid)).toBe(true)
    expect(await ask(shared, `select ${index} as user`)).toEqual([{ user: index }])
    launcher.child.kill('SIGTERM')
    expect(await launcher.ended).toEqual({ code: 0, signal: null })
  }
  expect(await lives(pid)).toBe(false)
  const left = (await readdir(folder)).filter((name) => /owner|lock|unfinished|draft/.test(name))
  expect(left).toEqual([])
})

it('starts one server when several parts of one process start it at the same time', async () => {
  const folder = await readyCluster()
  const options = { folder, durable: false }
  const servers = await Promise.all([1, 2, 3].map(() => startEmbeddedPostgres(options)))
  expect(servers.filter((server) => !server.reused)).toHaveLength(1)
  const [first, ...others] = servers
  await first?.stop()
  for (const server of others) {
    expect(await ask(server.connectionString, 'select 1 as one')).toEqual([{ one: 1 }])
    await server.stop()
  }
  await expect(serverPid(others[0]?.dataFolder ?? '')).rejects.toThrow('absent')
})

it('does not wait for a killed user before it stops the server', async () => {
  const folder = await readyCluster()
  const killed = launcherProcess({ folder })
  await killed.started
  const server = await startEmbeddedPostgres({ folder, durable: false })
  const pid = await serverPid(server.dataFolder)
  killed.child.kill('SIGKILL')
  await killed.ended
  expect(await lives(pid)).toBe(true)
  await server.stop()
  expect(await lives(pid)).toBe(false)
})

it('keeps the settings while another process uses them', async () => {
  const folder = await readyCluster()
  const first = await startEmbeddedPostgres({ folder, durable: false, maxConnections: 20 })
  const notes: string[] = []
  const log = (note: string) => notes.push(note)
  const second = await startEmbeddedPostgres({ folder, durable: false, maxConnections: 30, log })
  expect(second.reused).toBe(true)
  expect(await ask(first.connectionString, 'show max_connections')).toEqual([
    { max_connections: '20' },
  ])
  expect(notes.join()).toContain('20 connections')
})
