import { relative } from 'node:path'
import { createPaint, type Paint } from '../output/paint.ts'
import { renderFields } from '../output/table.ts'
import type { Output } from '../output/terminal.ts'
import { CONFERENCE, type Shop } from './story/scene.ts'

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
export function sayFarewell(out: Output, shop: Shop, addresses: Addresses): void {
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
