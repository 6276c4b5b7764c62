/**
 * The two queues in the table of events. `purchase`: a purchase may wait for it. `mirror`: only the
 * mirror does, and its readings wait for their turn in the account's request budget.
 */
export type Lane = 'purchase' | 'mirror'
