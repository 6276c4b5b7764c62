/** What a payer, the dashboard or a test asked for does not fit the state of things. */
export class NotPossible extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'NotPossible'
  }
}
