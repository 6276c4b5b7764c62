import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { CHROMIUM, launchBrowser } from '../../../scripts/browser.ts'
import { createSignInLink } from '../../../src/access/sign-in.ts'
import { type TestApp, useTestApp } from '../../support/test-app.ts'

if (CHROMIUM === undefined) {
  process.stderr.write(
    '\n  NO CHROMIUM: the tests in a browser are skipped. Install it (apt-get install chromium) or set CHROMIUM.\n\n',
  )
}

/** Tests that need a browser. */
export const describeInBrowser = CHROMIUM === undefined ? describe.skip : describe

const DESKTOP = { width: 1280, height: 900 }
export const PHONE = { width: 390, height: 844 }

export type Visitor = {
  page: Page
  /** The problems that the browser reported: errors of scripts, and breaches of the policy of the page. */
  problems: string[]
}

export type Site = {
  app: TestApp
  /** The address of the service. */
  url: () => string
  /** A fresh browser profile. */
  visit(viewport?: { width: number; height: number }): Promise<Visitor>
  /** The same, signed in with a link for this address, on a page. */
  visitAs(email: string, path: string, viewport?: typeof PHONE): Promise<Visitor>
}

/** The service on a port, and a browser. @param app as from useTestApp; it begins to listen, unless it does already. @param publicUrl opens the service at this address instead of its port. */
export function useSite(app: TestApp = useTestApp(), publicUrl?: string): Site {
  let browser: Browser
  let url = ''
  const contexts: BrowserContext[] = []
  const visitors: Visitor[] = []
  beforeAll(async () => {
    if (CHROMIUM === undefined) return
    const { server } = app.app
    const address = server.listening ? server.address() : null
    url =
      address !== null && typeof address === 'object'
        ? `http://127.0.0.1:${address.port}`
        : await app.app.listen({ port: 0, host: '127.0.0.1' })
    if (publicUrl === undefined) {
      browser = await launchBrowser()
    } else {
      const rule = `MAP ${new URL(publicUrl).hostname}:80 ${new URL(url).host}`
      browser = await launchBrowser([`--host-resolver-rules=${rule}`])
      url = publicUrl
    }
  })
  afterAll(async () => {
    await browser?.close()
  })
  afterEach(async () => {
    const reported = visitors.splice(0).flatMap(({ problems }) => problems)
    await Promise.all(contexts.splice(0).map((context) => context.close()))
    expect(reported, 'what the browser reported').toEqual([])
  })

  async function visit(viewport = DESKTOP): Promise<Visitor> {
    const context = await browser.newContext({
      viewport,
      locale: 'en-GB',
      timezoneId: 'Europe/Berlin',
      baseURL: url,
    })
    context.setDefaultTimeout(30_000)
    contexts.push(context)
    const page = await context.newPage()
    const visitor: Visitor = { page, problems: [] }
    page.on('pageerror', (error) => visitor.problems.push(String(error)))
    page.on('console', (message) => {
      // The browser also reports answers such as 401, which a page handles.
      const isAnswer = message.text().startsWith('Failed to load resource')
      if (message.type() === 'error' && !isAnswer) visitor.problems.push(message.text())
    })
    visitors.push(visitor)
    return visitor
  }

  return {
    app,
    url: () => url,
    visit,
    async visitAs(email, path, viewport) {
      const visitor = await visit(viewport)
      const link = await createSignInLink(app.db, email, url, Number.MAX_SAFE_INTEGER)
      if (link === null) throw new Error(`No user has the address ${email}`)
      const { page } = visitor
      const [base = '', token = ''] = link.split('#')
      await page.goto(`${base}?return=${encodeURIComponent(path)}#${token}`)
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.waitForURL((address) => address.pathname.startsWith(path.split('?')[0] ?? path))
      return visitor
    },
  }
}

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

type AxeResult = {
  violations: { id: string; impact: string; help: string; nodes: { html: string }[] }[]
}

/** What axe finds on the page that is serious for people with disabilities. @see https://github.com/dequelabs/axe-core */
export async function seriousBarriers(page: Page): Promise<string[]> {
  // Not a script of the page, whose policy forbids it, but the test's.
  await page.evaluate(AXE)
  const { violations } = (await page.evaluate(
    // What react-aria reads aloud once may name a button that is gone.
    "axe.run({ exclude: [['[data-live-announcer]']] })",
  )) as AxeResult
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, help, nodes }) => `${id}: ${help} ${nodes.map(({ html }) => html).join(' ')}`)
}

/** Holds requests of the page back. @returns lets them go. */
export async function holdBack(page: Page, urls: string): Promise<() => void> {
  let release = () => {}
  const isReleased = new Promise<void>((resolve) => {
    release = resolve
  })
  await page.route(urls, async (route) => {
    await isReleased
    await route.continue()
  })
  return release
}

/** Waits until the page shows the text in its content. */
export async function expectText(page: Page, text: string | RegExp): Promise<void> {
  await page.getByRole('main').getByText(text).first().waitFor()
}

/** Whether the page needs no scrolling to the side. */
export async function fitsWidth(page: Page): Promise<boolean> {
  return page.evaluate(
    '(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth)()',
  )
}
