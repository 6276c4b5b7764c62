import type { BulkPurchase } from './purchase-aggregate.ts'

/** The description of a purchase for which staff wrote none. */
export function describePurchase(quantity: number, item: string): string {
  return `${quantity} × ${item} voucher ${quantity === 1 ? 'code' : 'codes'}`
}

/** The item in a description of ours, as it was named when the purchase was made; null for another text. */
function itemIn(description: string, quantity: number): string | null {
  const start = `${quantity} × `
  if (!description.startsWith(start)) return null
  return /^(.+) voucher codes?$/s.exec(description.slice(start.length))?.[1] ?? null
}

/** The description for another quantity. Staff's own text stays, with the quantity that it begins with. */
export function describeAgain(description: string, before: number, now: number): string {
  const item = itemIn(description, before)
  if (item !== null) return describePurchase(now, item)
  const start = `${before} × `
  return description.startsWith(start) ? `${now} × ${description.slice(start.length)}` : description
}

/**
 * What the payer sees at Stripe, next to the quantity: "Corporate ticket voucher". Staff's own text is shown
 * without a quantity in front of it ("40 × Speakers", "40 speaker tickets").
 */
export function lineItemName({
  description,
  quantity,
  ticketTypeId,
}: Pick<BulkPurchase, 'description' | 'quantity' | 'ticketTypeId'>): string {
  const item = itemIn(description, quantity)
  if (item === null) return withoutQuantity(description, quantity)
  const saysTicket = ticketTypeId === null || /\b(ticket|pass)(s|es)?$/i.test(item)
  return saysTicket ? `${item} voucher` : `${item} ticket voucher`
}

/** "3 day pass" is no quantity of three. */
function withoutQuantity(text: string, quantity: number): string {
  const rest = new RegExp(`^${quantity}(?:\\s*[×x]|)\\s+(?!days?\\b)(\\S.*)$`, 'is').exec(text)?.[1]
  return rest ?? text
}
