/** Masks Stripe keys and webhook secrets in a text that goes to a caller, a row or a log. */
export function withoutSecrets(text: string): string {
  return text.replaceAll(/\b([srp]k_(?:live|test)_|whsec_)[\w*.+/=-]+/g, '$1****')
}
