// `npm run screenshots`: opens the pages with the demo's data in a browser, and writes the pictures of the README.
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { z } from 'zod'
import { createDemoApi, type DemoApi } from '../demo/demo-api.ts'
import { createTearDown, startEnvironment } from '../demo/environment.ts'
import { createNarrator } from '../demo/narrator.ts'
import { openSeason, PEOPLE, playSeason, SEASON_CONFERENCE } from '../demo/season/season.ts'
import { interruptSignal, processTerminal } from '../src/cli/terminal.ts'
import { launchBrowser } from './browser.ts'

const FOLDER = fileURLToPath(new URL('../docs/images/', import.meta.url))
/** Everybody who clones the repository downloads them. */
const MAX_BYTES = 150_000
const PURCHASES = 300

const DESKTOP = { width: 1200, height: 780 }
const PHONE = { width: 390, height: 760 }

type Picture = {
  name: string
  /** The address of a user of the demo. */
  by: string
  path: string
  viewport: typeof PHONE
  /** Shown when the data is there. */
  shows: (page: Page) => Promise<void>
}

const heading = (name: string | RegExp) => (page: Page) =>
  page.getByRole('heading', { name }).first().waitFor()

/** What the pictures show, found in the data. */
async function choosePictures(api: DemoApi, path: string, as: string): Promise<Picture[]> {
  const find = async <T>(what: string, schema: z.ZodType<T>): Promise<T> => {
    const page = z.object({ data: z.array(schema).min(1) })
    const { data } = await api.look({
      method: 'GET',
      path: `${path}/${what}`,
      as,
      expect: 200,
      schema: page,
    })
    return data[0] as T // at least one, says the schema
  }
  const purchase = await find('purchases?flag=dispute', z.object({ id: z.string() }))
  const voucher = await find('vouchers?state=active&limit=1', z.object({ code: z.string() }))
  const { slug } = SEASON_CONFERENCE
  const portal = { by: PEOPLE.sponsor.email, viewport: DESKTOP }
  const console = { by: PEOPLE.staff.email, viewport: DESKTOP }
  return [
    { ...portal, name: 'portal', path: `/portal/${slug}`, shows: heading('Your vouchers') },
    {
      ...console,
      name: 'console',
      path: `/console/${slug}/purchases`,
      shows: heading('Purchases'),
    },
    {
      ...console,
      name: 'purchase',
      path: `/console/${slug}/purchases/${purchase.id}`,
      shows: heading(/voucher code/),
    },
    {
      ...console,
      viewport: PHONE,
      name: 'door',
      path: `/console/${slug}/vouchers?q=${voucher.code}`,
      shows: heading('This code is good'),
    },
  ]
}

async function takePicture(context: BrowserContext, picture: Picture): Promise<void> {
  const page = await context.newPage()
  await page.setViewportSize(picture.viewport)
  await page.goto(picture.path)
  await picture.shows(page)
  await page.waitForLoadState('networkidle')
  const file = join(FOLDER, `${picture.name}.png`)
  await page.screenshot({ path: file, animations: 'disabled', caret: 'hide' })
  const { size } = await stat(file)
  if (size > MAX_BYTES) throw new Error(`${file} has ${size} bytes, more than ${MAX_BYTES}`)
  process.stdout.write(`  docs/images/${picture.name}.png  ${Math.round(size / 1000)} kB\n`)
  await page.close()
}

async function signedIn(browser: Browser, url: string, cookie: string): Promise<BrowserContext> {
  const context = await browser.newContext({
    baseURL: url,
    locale: 'en-GB',
    timezoneId: 'Europe/Berlin',
    colorScheme: 'light',
  })
  const [name = '', value = ''] = cookie.split('=')
  await context.addCookies([{ name, value, url }])
  return context
}

const signal = interruptSignal()
const dataDir = await mkdtemp(join(tmpdir(), 'screenshots-'))
const { onTearDown, tearDown } = createTearDown()
try {
  onTearDown('data', () => rm(dataDir, { recursive: true, force: true }))
  const narrator = createNarrator(processTerminal().out)
  const options = { dataDir, port: 0, stripePort: 0, nodeEnv: 'test', buildPages: true }
  const stage = await startEnvironment(options, narrator, signal, onTearDown)
  const api = createDemoApi({ serviceUrl: stage.serviceUrl, place: '/v1', signal }, narrator)
  const season = await openSeason({ ...stage, api, signal })
  await playSeason(season, PURCHASES, stage, () => {})
  if (!(await stage.pages)) throw new Error('The pages could not be built')
  const browser = await launchBrowser()
  onTearDown('browser', () => browser.close())
  for (const picture of await choosePictures(api, season.path, stage.operatorKey)) {
    const { cookie } = await stage.signIn(picture.by)
    const context = await signedIn(browser, stage.serviceUrl, cookie)
    await takePicture(context, picture)
    await context.close()
  }
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
} finally {
  await tearDown()
}
