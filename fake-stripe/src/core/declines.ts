/** Why a payment fails. Codes and messages are Stripe's; the payer reads the message. */
export type PaymentFailure = {
  /** `failure_code` of the charge and `code` of the error. */
  code: string
  /** The issuer's reason; null for bank debits. */
  declineCode: string | null
  message: string
}

/** @see https://docs.stripe.com/declines/codes */
export const DECLINE_CODES = [
  'generic_decline',
  'insufficient_funds',
  'lost_card',
  'stolen_card',
  'expired_card',
  'incorrect_cvc',
  'processing_error',
  'authentication_required',
] as const

export type DeclineCode = (typeof DECLINE_CODES)[number]

// Stripe repeats these decline codes as the error code; for all others it is `card_declined`.
const OWN_ERROR_CODE: readonly DeclineCode[] = [
  'expired_card',
  'incorrect_cvc',
  'processing_error',
  'authentication_required',
]

const MESSAGES: Record<DeclineCode, string> = {
  generic_decline: 'Your card was declined.',
  insufficient_funds: 'Your card has insufficient funds.',
  lost_card: 'Your card was declined.',
  stolen_card: 'Your card was declined.',
  expired_card: 'Your card has expired.',
  incorrect_cvc: "Your card's security code is incorrect.",
  processing_error: 'An error occurred while processing your card. Try again in a little bit.',
  authentication_required: 'Your card was declined. This transaction requires authentication.',
}

export function cardDecline(code: DeclineCode): PaymentFailure {
  return {
    code: OWN_ERROR_CODE.includes(code) ? code : 'card_declined',
    declineCode: code,
    message: MESSAGES[code],
  }
}

/** A bank debit or transfer that the bank returned days later. */
export const BANK_FAILURE: PaymentFailure = {
  code: 'insufficient_funds',
  declineCode: null,
  message: "The customer's account has insufficient funds to cover this payment.",
}
