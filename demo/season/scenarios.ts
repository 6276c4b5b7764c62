// oxlint-disable require-yield -- a course may end on the day of the order
import type { Buyer } from './buyer.ts'
import { pick } from './cast.ts'

/** What happens to a purchase. It yields the number of days until it goes on. */
type Course = AsyncGenerator<number, void, void>

export type Scenario = {
  name: string
  /** How many of a few hundred purchases go like this. */
  share: number
  /** The fewest and the most days between the order and today. */
  daysAgo: readonly [number, number]
  /** Nothing is paid, so the quantity is small. */
  isFree?: true
  course: (buyer: Buyer) => Course
}

/** Any day of the season. */
const ANY_DAY = [0, 41] as const

async function* byCard(buyer: Buyer): Course {
  await buyer.order()
  await buyer.openPage()
  await buyer.payByCard()
  yield* useCodes(buyer)
}

/** Some codes go to people, and some of those are redeemed. */
async function* useCodes(buyer: Buyer): Course {
  const { random } = buyer
  if (random() < 0.4) {
    yield 1 + Math.floor(random() * 3)
    await buyer.assign(0.2 + random() * 0.8)
  }
  for (let round = 0; round < 3; round += 1) {
    yield 1 + Math.floor(random() * 6)
    await buyer.redeem(random() * 0.35)
  }
}

async function* byTransfer(buyer: Buyer): Course {
  await buyer.order()
  yield 2 + Math.floor(buyer.random() * 6)
  await buyer.recordTransfer()
  yield* useCodes(buyer)
}

async function* byDebit(buyer: Buyer): Course {
  await buyer.order()
  await buyer.openPage()
  await buyer.payByDebit()
  yield 3
  await buyer.debitArrives()
  yield* useCodes(buyer)
}

async function* byCardAtSecondAttempt(buyer: Buyer): Course {
  await buyer.order()
  await buyer.openPage()
  await buyer.declined(pick(buyer.random, ['incorrect_cvc', 'insufficient_funds']))
  await buyer.payByCard()
  yield* useCodes(buyer)
}

async function* retriedAfterFailure(buyer: Buyer): Course {
  await buyer.order()
  await buyer.openPage()
  await buyer.declined('processing_error')
  await buyer.pageExpires()
  yield 1
  await buyer.openPage()
  await buyer.payByCard()
  yield* useCodes(buyer)
}

async function* free(buyer: Buyer): Course {
  await buyer.orderFree()
  yield buyer.random() < 0.5 ? 0 : 1
  await buyer.approve()
  yield* useCodes(buyer)
}

async function* freeWaiting(buyer: Buyer): Course {
  await buyer.orderFree()
}

async function* freeRevoked(buyer: Buyer): Course {
  await buyer.orderFree()
  await buyer.approve()
  yield 4
  await buyer.revoke('The talk was cancelled.')
}

/** Back from the sponsor: a part, before most codes are used. */
async function* refundedInPart(buyer: Buyer): Course {
  await buyer.order(3)
  await buyer.openPage()
  await buyer.payByCard()
  yield 2
  await buyer.redeem(0.2)
  yield 3
  await buyer.refundCodes(1 + Math.floor(buyer.random() * 2))
}

async function* refundedInFull(buyer: Buyer): Course {
  await buyer.order()
  await buyer.openPage()
  await buyer.payByCard()
  yield 1 + Math.floor(buyer.random() * 6)
  await buyer.refundAll()
}

async function* transferReturnedInPart(buyer: Buyer): Course {
  await buyer.order(3)
  yield 3
  await buyer.recordTransfer()
  yield 4
  await buyer.refundCodes(1)
}

/** The refund pays for codes that are in use: staff must decide. */
async function* refundedAfterUse(buyer: Buyer): Course {
  await buyer.order(2)
  await buyer.openPage()
  await buyer.payByCard()
  yield 2
  await buyer.redeem(1)
  yield 2
  await buyer.refundCodes(1)
}

async function* refundPending(buyer: Buyer): Course {
  await buyer.order(2)
  await buyer.openPage()
  await buyer.payByCard()
  yield 2
  await buyer.refundSlowly()
}

async function* refundFailed(buyer: Buyer): Course {
  await buyer.order(2)
  await buyer.openPage()
  await buyer.payByCard()
  yield 2
  const refund = await buyer.refundSlowly()
  yield 1
  await buyer.refundIsReturned(refund)
}

async function* failedByDecline(buyer: Buyer): Course {
  await buyer.order()
  await buyer.openPage()
  await buyer.declined(
    pick(buyer.random, [
      'generic_decline',
      'insufficient_funds',
      'expired_card',
      'lost_card',
      'processing_error',
      'authentication_required',
    ]),
  )
  yield buyer.random() < 0.5 ? 0 : 1
  await buyer.pageExpires()
}

async function* failedByExpiry(buyer: Buyer): Course {
  await buyer.order()
  await buyer.openPage()
  yield 1
  await buyer.pageExpires()
}

async function* failedByReturnedDebit(buyer: Buyer): Course {
  await buyer.order()
  await buyer.openPage()
  await buyer.payByDebit()
  yield 3
  await buyer.debitIsReturned()
}

async function* cancelled(buyer: Buyer): Course {
  await buyer.order()
  yield 1
  await buyer.cancel()
}

async function* ordered(buyer: Buyer): Course {
  await buyer.order()
}

async function* atThePage(buyer: Buyer): Course {
  await buyer.order()
  await buyer.openPage()
}

async function* debitOnItsWay(buyer: Buyer): Course {
  await buyer.order()
  await buyer.openPage()
  await buyer.payByDebit()
}

async function* disputed(buyer: Buyer): Course {
  await buyer.order(2)
  await buyer.openPage()
  await buyer.payByCard()
  yield 3
  await buyer.redeem(0.3)
  yield 3
  await buyer.dispute()
}

function disputeThatEnds(outcome: 'won' | 'lost') {
  return async function* course(buyer: Buyer): Course {
    await buyer.order(2)
    await buyer.openPage()
    await buyer.payByCard()
    yield 4
    const dispute = await buyer.dispute()
    yield 7
    await buyer.disputeEnds(dispute, outcome)
    yield 1
    await buyer.resolveDispute(`The bank decided. The dispute is ${outcome}.`)
  }
}

async function* suspected(buyer: Buyer): Course {
  await buyer.order()
  await buyer.openPage()
  await buyer.payByCard()
  yield 1
  await buyer.suspectFraud()
}

async function* paidTooLittle(buyer: Buyer): Course {
  await buyer.order(2)
  await buyer.openPage()
  await buyer.payAnotherAmount()
}

/** What can happen to a purchase. The first ones are those of a small season. */
export const SCENARIOS: readonly Scenario[] = [
  { name: 'card', share: 110, daysAgo: ANY_DAY, course: byCard },
  { name: 'bank transfer', share: 26, daysAgo: [8, 41], course: byTransfer },
  { name: 'declined', share: 22, daysAgo: [2, 41], course: failedByDecline },
  { name: 'free', share: 22, daysAgo: [2, 41], isFree: true, course: free },
  { name: 'refunded in part', share: 16, daysAgo: [6, 41], course: refundedInPart },
  { name: 'refunded in full', share: 10, daysAgo: [8, 41], course: refundedInFull },
  { name: 'disputed', share: 3, daysAgo: [6, 13], course: disputed },
  { name: 'dispute lost', share: 3, daysAgo: [12, 41], course: disputeThatEnds('lost') },
  { name: 'ordered', share: 12, daysAgo: [0, 9], course: ordered },
  { name: 'at the payment page', share: 2, daysAgo: [0, 0], course: atThePage },
  { name: 'debit on its way', share: 4, daysAgo: [0, 2], course: debitOnItsWay },
  { name: 'free, waiting', share: 6, daysAgo: [0, 3], isFree: true, course: freeWaiting },
  { name: 'free, revoked', share: 4, daysAgo: [5, 41], isFree: true, course: freeRevoked },
  { name: 'second attempt', share: 12, daysAgo: ANY_DAY, course: byCardAtSecondAttempt },
  { name: 'retried', share: 8, daysAgo: [2, 41], course: retriedAfterFailure },
  { name: 'debit', share: 16, daysAgo: [4, 41], course: byDebit },
  { name: 'expired', share: 9, daysAgo: [2, 41], course: failedByExpiry },
  { name: 'debit returned', share: 6, daysAgo: [4, 41], course: failedByReturnedDebit },
  { name: 'cancelled', share: 8, daysAgo: [2, 41], course: cancelled },
  { name: 'transfer returned in part', share: 4, daysAgo: [8, 41], course: transferReturnedInPart },
  { name: 'refunded after use', share: 2, daysAgo: [5, 20], course: refundedAfterUse },
  { name: 'refund pending', share: 2, daysAgo: [2, 5], course: refundPending },
  { name: 'refund failed', share: 2, daysAgo: [4, 20], course: refundFailed },
  { name: 'dispute won', share: 2, daysAgo: [12, 41], course: disputeThatEnds('won') },
  { name: 'suspected', share: 2, daysAgo: [2, 12], course: suspected },
  { name: 'paid too little', share: 2, daysAgo: [1, 9], course: paidTooLittle },
]
