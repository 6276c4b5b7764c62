import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

// oxlint-disable-next-line node/no-process-env -- where a browser is, on this machine
const { CHROMIUM: named } = process.env

/** Debian's package, or a browser named by the setting. Undefined where there is none. */
export const CHROMIUM = [named, '/usr/bin/chromium', '/usr/bin/google-chrome'].find(
  (path) => path !== undefined && existsSync(path),
)

/** @param more arguments of Chromium. @throws Error where there is no Chromium. */
export async function launchBrowser(more: readonly string[] = []): Promise<Browser> {
  if (CHROMIUM === undefined) {
    throw new Error('There is no Chromium. Install it (apt-get install chromium) or set CHROMIUM.')
  }
  // As root, in a container, and with little shared memory.
  const args = ['--no-sandbox', '--disable-dev-shm-usage', ...more]
  return chromium.launch({ executablePath: CHROMIUM, args })
}
