/** Where a use case asks for the time, so that a test can set it. Rows use the database's `now()`. */
export type Clock = { now(): Date }

export const systemClock: Clock = { now: () => new Date() }
