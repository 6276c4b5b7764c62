import { once } from 'node:events'
import { relative } from 'node:path'
import { EXIT } from '../src/cli/cli-errors.ts'
import { renderFields } from '../src/cli/table.ts'
import {
  createPaint,
  Interrupted,
  type Output,
  type Paint,
  plainText,
  type Terminal,
  unlessInterrupted,
} from '../src/cli/terminal.ts'
import {
  createTearDown,
  type Environment,
  type EnvironmentOptions,
  startEnvironment,
} from './environment.ts'
import { createNarrator, Mismatch } from './narrator.ts'
import type { OpenedSeason } from './season/season.ts'
import { CONFERENCE, type Shop } from './story-context.ts'

export type DemoOptions = EnvironmentOptions & {
  /** Exits after the story. */
  once: boolean
  /** Of the second conference. */
  purchases: number
}

/**
 * The whole demo: starts the environment, runs the story, and keeps running until the signal.
 *
 * @returns the exit code: 0 only if every step had the expected result and everything stopped properly.
 */
export async function runDemo(
  options: DemoOptions,
  { out, err }: Pick<Terminal, 'out' | 'err'>,
  signal: AbortSignal,
): Promise<number> {
  const { onTearDown, tearDown } = createTearDown()
  const failed = (what: string) => {
    err.write(`\n  ${createPaint(err.colours).red('The demo failed.')} ${what}\n\n`)
    return EXIT.failed
  }
  const play = async (): Promise<number> => {
    try {
      await perform(options, out, signal, onTearDown)
      return EXIT.ok
    } catch (error) {
      if (signal.aborted || error instanceof Interrupted) return EXIT.interrupted
      if (error instanceof Mismatch) return failed(error.message)
      return failed(error instanceof Error ? (error.stack ?? error.message) : String(error))
    }
  }
  const exitCode = await play()
  const failedParts = await tearDown()
  if (exitCode === EXIT.ok && failedParts.length > 0) {
    return failed(`Not stopped properly: ${failedParts.join(', ')}.`)
  }
  return exitCode
}

async function perform(
  options: DemoOptions,
  out: Terminal['out'],
  signal: AbortSignal,
  onTearDown: Parameters<typeof startEnvironment>[3],
): Promise<void> {
  const begun = performance.now()
  const narrator = createNarrator(out)
  narrator.title('sponsor-vouchers', 'a demo: real requests, fake money')
  const stage = await startEnvironment(options, narrator, signal, onTearDown)
  const { serviceUrl, stripe, operatorKey, mailFolder, receiver, settingsFile } = stage
  const { createDemoApi } = await import('./demo-api.ts')
  const { runStory } = await import('./story.ts')
  const place = `/v1/conferences/${CONFERENCE}`
  const api = createDemoApi({ serviceUrl, place, signal }, narrator)
  const scene = { narrator, api, serviceUrl, stripe, operatorKey, mailFolder, receiver, signal }
  const shop = await unlessInterrupted(signal, runStory(scene))
  narrator.end(performance.now() - begun)
  if (options.once) return
  const { openSeason } = await import('./season/season.ts')
  const season = await openSeason({ ...stage, api, signal }, shop.path)
  printNextSteps(out, shop, {
    serviceUrl,
    stripeUrl: stripe.url,
    operatorKey,
    mailFolder,
    receiverUrl: receiver.url,
    settingsFile,
  })
  await printLinks(out, stage)
  // What the reader does now arrives here.
  receiver.onEvent(({ type, data }) => out.write(`  ← ${type}  ${JSON.stringify(data)}\n`))
  await Promise.all([
    fillSeason(out, season, options.purchases, stage),
    signal.aborted ? null : once(signal, 'abort'),
  ])
  out.write('\n  Stopping.\n')
}

/** Prints a link for each application. They come last, because people look for them. */
async function printLinks(out: Output, { pages, ...stage }: Environment): Promise<void> {
  const paint = createPaint(out.colours)
  const { PEOPLE, SEASON_CONFERENCE } = await import('./season/season.ts')
  const linkTo = async (email: string, path: string) => {
    const [page, token] = (await stage.signInLink(email)).split('#')
    return `${page}?return=${path}#${token}`
  }
  const fields = [
    ['portal', await linkTo(PEOPLE.sponsor.email, `/portal/${SEASON_CONFERENCE.slug}`)],
    ['console', await linkTo(PEOPLE.operator.email, `/console/${SEASON_CONFERENCE.slug}`)],
  ] as const
  const built = await pages
  const file = relative(process.cwd(), stage.settingsFile)
  out.write(
    [
      `  ${paint.bold('Open the pages')}  ${paint.dim('each link signs in once, within 15 minutes')}\n\n`,
      indented(renderFields(fields, paint)),
      '\n',
      `${paint.dim(`  # print another link, also for ${PEOPLE.staff.email} (staff)`)}\n`,
      `  (set -a; . ${file}; npm run --silent cli -- users:sign-in-link ${PEOPLE.operator.email})\n\n`,
      built ? '' : '  The pages could not be built; `npm run build` shows why.\n\n',
    ].join(''),
  )
}

/** Fills the second conference while the demo runs on, and says how far it is. */
async function fillSeason(
  out: Output,
  season: OpenedSeason,
  count: number,
  stage: Environment,
): Promise<void> {
  if (count === 0) return
  const paint = createPaint(out.colours)
  const { playSeason, SEASON_CONFERENCE } = await import('./season/season.ts')
  const begun = performance.now()
  const { name } = SEASON_CONFERENCE
  out.write(`  ${paint.dim(`… filling ${name} with ${count} purchases of six weeks`)}\n`)
  let quarters = 0
  try {
    await playSeason(season, count, stage, (played) => {
      const now = Math.floor((4 * played) / count)
      if (now > quarters && now < 4) out.write(`  ${paint.dim(`… ${played} of ${count}`)}\n`)
      quarters = now
    })
  } catch (error) {
    if (season.signal.aborted) return
    const reason = error instanceof Error ? error.message : String(error)
    out.write(`  ${paint.red('✘')} ${name} is incomplete: ${plainText(reason)}\n\n`)
    return
  }
  const seconds = paint.dim(`${((performance.now() - begun) / 1000).toFixed(0)} s`)
  out.write(
    `  ${paint.green('✔')} ${name} has ${count} purchases of six weeks, in every state  ${seconds}\n\n`,
  )
}

export type Addresses = {
  serviceUrl: string
  stripeUrl: string
  operatorKey: string
  /** The service writes mails to this folder as `.eml` files. */
  mailFolder: string
  /** Prints every event that it receives. */
  receiverUrl: string
  /** Settings of this run, for the command line. */
  settingsFile: string
}

/** Prints addresses, keys, and commands to paste into a shell. */
function printNextSteps(out: Output, shop: Shop, addresses: Addresses): void {
  const paint = createPaint(out.colours)
  const { serviceUrl, stripeUrl, operatorKey, mailFolder, receiverUrl } = addresses
  const fields = [
    ['API docs', `${serviceUrl}/docs`],
    ['fake Stripe', `${stripeUrl}/`],
    ['operator key', operatorKey],
    ['staff key', shop.staffKey],
    ['sponsor key', shop.sponsorKey],
    ['mails', `${relative(process.cwd(), mailFolder)}/*.eml`],
    ['webhooks', `${receiverUrl}  receives the events of ${CONFERENCE}; they are printed below`],
  ] as const
  const lines = commandLines(shop, addresses, paint).map((line) => `${line}\n`)
  out.write(
    [
      `\n  ${paint.bold('Try it yourself')}  ${paint.dim('everything keeps running; Ctrl-C stops it and deletes its data')}\n\n`,
      indented(renderFields(fields, paint)),
      '\n',
      ...lines,
      '\n',
    ].join(''),
  )
}

// Without jq, which many machines do not have.
function commandLines(shop: Shop, { serviceUrl, settingsFile }: Addresses, paint: Paint): string[] {
  const json = "-H 'content-type: application/json'"
  const sponsor = '-H "authorization: Bearer $SPONSOR"'
  const remark = (text: string) => paint.dim(`  # ${text}`)
  const order = JSON.stringify({ ticket_type: shop.ticketType, quantity: 3 })
  const urls = JSON.stringify({
    success_url: `${serviceUrl}/docs`,
    cancel_url: `${serviceUrl}/docs`,
  })
  const file = relative(process.cwd(), settingsFile)
  return [
    remark('order three vouchers'),
    `  API=${serviceUrl}${shop.path} SPONSOR=${shop.sponsorKey}`,
    `  ID=$(curl -s $API/purchases ${sponsor} ${json} -d '${order}' | grep -o 'bp_[0-9A-Za-z]*' | head -1)`,
    remark('open the printed address in a browser, and pay or cancel'),
    `  curl -s $API/purchases/$ID/checkout ${sponsor} ${json} -d '${urls}' | grep -o 'http[^"]*/c/pay/[^"]*'`,
    remark('download the codes'),
    `  curl -s $API/purchases/$ID/vouchers ${sponsor} -H 'accept: text/csv'`,
    remark('use the command line with the same database'),
    `  (set -a; . ${file}; npm run --silent cli -- purchases:list --conference ${CONFERENCE})`,
  ]
}

const indented = (text: string) => text.replace(/^(?=.)/gm, '  ')
