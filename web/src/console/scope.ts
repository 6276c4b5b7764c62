import type { Schema } from '../api/client.ts'

/** One conference, and what the person may do in it. */
export type ConsoleScope = {
  /** The slug, for paths and requests. */
  conference: string
  name: string
  currency: string
  /** Where Stripe shows the payments of the conference; null for another service in its place. */
  dashboard: string | null
  may: (scope: Schema<'Scope'>) => boolean
  /** Operators of the platform also change limits and Stripe's key. */
  isOperator: boolean
}
