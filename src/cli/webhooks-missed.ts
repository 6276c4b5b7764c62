/** More of Stripe's events were missing than the threshold allows: an answer, and no success. */
export class WebhooksMissed extends Error {
  constructor(conferences: readonly string[]) {
    super(`Stripe's webhooks do not arrive: ${conferences.join(', ')}.`)
    this.name = 'WebhooksMissed'
  }
}
