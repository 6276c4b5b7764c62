import { z } from 'zod'

export const webhookFaultSchema = z.strictObject({
  kind: z.enum(['duplicate', 'reorder', 'delay', 'drop']),
  /** Event types; absent: all. `charge.*` matches all types that begin so. */
  types: z.array(z.string()).optional(),
  /** `acct_…`; absent: every account. */
  account: z.string().optional(),
  /** How many deliveries the fault affects. */
  times: z.union([z.coerce.number().int().min(1), z.literal('always')]).default('always'),
  /** `duplicate`: the number of copies, default two. */
  copies: z.coerce.number().int().min(2).max(20).default(2),
  /**
   * `delay`: milliseconds, default 1000. `reorder`: how long to wait for more events, default 200.
   */
  ms: z.coerce.number().int().min(0).optional(),
  /** `reorder`: how many deliveries are collected and then sent newest first. */
  window: z.coerce.number().int().min(2).max(1000).default(4),
})

export type WebhookFaultInput = z.input<typeof webhookFaultSchema>
export type WebhookFault = z.output<typeof webhookFaultSchema> & { id: string; hits: number }

/** How one delivery is treated. */
export type WebhookTreatment = {
  drop: boolean
  copies: number
  delayMs: number
  /** Null: sent immediately. */
  reorder: { window: number; ms: number } | null
}

/** The faults that are injected into webhook deliveries. Several can apply to one delivery. */
export class WebhookFaults {
  #faults: WebhookFault[] = []
  #sequence = 0

  add(input: WebhookFaultInput): WebhookFault {
    this.#sequence += 1
    const id = `webhook_fault_${this.#sequence}`
    const fault = { ...webhookFaultSchema.parse(input), id, hits: 0 }
    this.#faults.push(fault)
    return fault
  }

  /** Decides how one delivery is treated; counts the faults that apply. */
  take(type: string, account: string): WebhookTreatment {
    const drop = this.#use('drop', type, account)
    if (drop !== undefined) return { drop: true, copies: 1, delayMs: 0, reorder: null }
    const duplicate = this.#use('duplicate', type, account)
    const delay = this.#use('delay', type, account)
    const reorder = this.#use('reorder', type, account)
    return {
      drop: false,
      copies: duplicate?.copies ?? 1,
      delayMs: delay === undefined ? 0 : (delay.ms ?? 1000),
      reorder: reorder === undefined ? null : { window: reorder.window, ms: reorder.ms ?? 200 },
    }
  }

  list(): WebhookFault[] {
    return [...this.#faults]
  }

  remove(id: string): void {
    this.#faults = this.#faults.filter((fault) => fault.id !== id)
  }

  clear(): void {
    this.#faults = []
  }

  #use(kind: WebhookFault['kind'], type: string, account: string): WebhookFault | undefined {
    const fault = this.#faults.find(
      (candidate) =>
        candidate.kind === kind &&
        (candidate.account ?? account) === account &&
        matchesType(candidate.types, type),
    )
    if (fault === undefined) return undefined
    fault.hits += 1
    if (fault.times !== 'always') fault.times -= 1
    if (fault.times === 0) this.remove(fault.id)
    return fault
  }
}

/**
 * Whether a list such as `['charge.*']` or `['*']` matches this event type; undefined matches all.
 */
export function matchesType(wanted: readonly string[] | undefined, type: string): boolean {
  if (wanted === undefined) return true
  return wanted.some((pattern) =>
    pattern.endsWith('*') ? type.startsWith(pattern.slice(0, -1)) : pattern === type,
  )
}
