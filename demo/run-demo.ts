import { once } from 'node:events'
import { relative } from 'node:path'
import { EXIT } from '../src/cli/cli-errors.ts'
import { renderFields } from '../src/cli/table.ts'
import {
  createPaint,
  Interrupted,
  type Output,
  type Paint,
  type Terminal,
  unlessInterrupted,
} from '../src/cli/terminal.ts'
import { createNarrator, Mismatch } from './narrator.ts'
import { CONFERENCE, type Shop } from './scene.ts'
import { createTakeDown, type StageOptions, setStage } from './stage.ts'

export type DemoOptions = StageOptions & {
  /** Ends after the story instead of staying up. */
  once: boolean
}

/**
 * The whole demo: sets the stage, tells the story, and stays up until the signal.
 *
 * @returns the exit code: 0 only when every step showed what it should and everything stopped.
 */
export async function runDemo(
  options: DemoOptions,
  { out, err }: Pick<Terminal, 'out' | 'err'>,
  signal: AbortSignal,
): Promise<number> {
  const { keep, takeDown } = createTakeDown()
  const failed = (what: string) => {
    err.write(`\n  ${createPaint(err.colours).red('The demo failed.')} ${what}\n\n`)
    return EXIT.failed
  }
  const play = async (): Promise<number> => {
    try {
      await perform(options, out, signal, keep)
      return EXIT.ok
    } catch (error) {
      if (signal.aborted || error instanceof Interrupted) return EXIT.interrupted
      if (error instanceof Mismatch) return failed(error.message)
      return failed(error instanceof Error ? (error.stack ?? error.message) : String(error))
    }
  }
  const exitCode = await play()
  const troubled = await takeDown()
  if (exitCode === EXIT.ok && troubled.length > 0) {
    return failed(`Not stopped in order: ${troubled.join(', ')}.`)
  }
  return exitCode
}

async function perform(
  options: DemoOptions,
  out: Terminal['out'],
  signal: AbortSignal,
  keep: Parameters<typeof setStage>[3],
): Promise<void> {
  const begun = performance.now()
  const narrator = createNarrator(out)
  narrator.title('sponsor-vouchers', 'a demo: real requests, fake money')
  const stage = await setStage(options, narrator, signal, keep)
  const { serviceUrl, stripe, operatorKey, mailFolder, settingsFile } = stage
  const { createDemoApi } = await import('./demo-api.ts')
  const { tellStory } = await import('./story.ts')
  const place = `/v1/conferences/${CONFERENCE}`
  const api = createDemoApi({ serviceUrl, place, signal }, narrator)
  const scene = { narrator, api, serviceUrl, stripe, operatorKey, mailFolder, signal }
  const shop = await unlessInterrupted(signal, tellStory(scene))
  narrator.end(performance.now() - begun)
  if (options.once) return
  sayFarewell(out, shop, {
    serviceUrl,
    stripeUrl: stripe.url,
    operatorKey,
    mailFolder,
    settingsFile,
  })
  if (!signal.aborted) await once(signal, 'abort')
  out.write('\n  Stopping.\n')
}

export type Addresses = {
  serviceUrl: string
  stripeUrl: string
  operatorKey: string
  /** Mails are written there as `.eml` files. */
  mailFolder: string
  /** Settings of this run, for the command line. */
  settingsFile: string
}

/** Says how to go on by hand: addresses, keys, and lines that can be pasted into a shell. */
function sayFarewell(out: Output, shop: Shop, addresses: Addresses): void {
  const paint = createPaint(out.colours)
  const { serviceUrl, stripeUrl, operatorKey, mailFolder } = addresses
  const fields = [
    ['API docs', `${serviceUrl}/docs`],
    ['fake Stripe', `${stripeUrl}/`],
    ['operator key', operatorKey],
    ['staff key', shop.staffKey],
    ['sponsor key', shop.sponsorKey],
    ['mails', `${relative(process.cwd(), mailFolder)}/*.eml`],
  ] as const
  const lines = handLines(shop, addresses, paint).map((line) => `${line}\n`)
  out.write(
    [
      `\n  ${paint.bold('Now you')}  ${paint.dim('everything stays up; Ctrl-C ends it, and all that it made')}\n\n`,
      indented(renderFields(fields, paint)),
      '\n',
      ...lines,
      '\n',
    ].join(''),
  )
}

// Without jq, which a fresh machine does not have.
function handLines(shop: Shop, { serviceUrl, settingsFile }: Addresses, paint: Paint): string[] {
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
    remark('open the address that this prints in a browser, and pay, or do not'),
    `  curl -s $API/purchases/$ID/checkout ${sponsor} ${json} -d '${urls}' | grep -o 'http[^"]*/c/pay/[^"]*'`,
    remark('the codes'),
    `  curl -s $API/purchases/$ID/vouchers ${sponsor} -H 'accept: text/csv'`,
    remark('the same database from the command line'),
    `  (set -a; . ${file}; npm run --silent cli -- purchases:list --conference ${CONFERENCE})`,
  ]
}

const indented = (text: string) => text.replace(/^(?=.)/gm, '  ')
