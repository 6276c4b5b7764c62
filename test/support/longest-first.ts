import { BaseSequencer, type TestSpecification } from 'vitest/node'

// By their length in a full run. Many start processes, which the size of a file does not show.
const LONGEST = [
  'test/flows/refusal-campaign.test.ts',
  'test/demo/demo.test.ts',
  'test/billing/charges/charge-outcomes.test.ts',
  'test/purchases/pay-purchase.test.ts',
  'test/flows/neighbours.test.ts',
  'test/stripe-events/any-order.test.ts',
  'test/flows/every-transition.test.ts',
  'test/billing/discounts/publish-batch.test.ts',
  'test/cli/sync-commands.test.ts',
  'test/mirror/runs/killed-sync-runs.test.ts',
  'test/billing/subscriptions/create-subscription.test.ts',
  'test/db/embedded/killed-processes.test.ts',
  'test/http/list-plans.test.ts',
  'test/db/embedded/run-as.test.ts',
  'fake-stripe/test/command.test.ts',
  'test/flows/killed.test.ts',
  'test/purchases/plan-purchase.test.ts',
  'test/bench/purchases.test.ts',
]

/**
 * Runs the longest files first, so that none of them is still running when all others have ended. Vitest
 * itself knows the lengths only after the first run of a checkout.
 */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const index = LONGEST.findIndex((file) => moduleId.endsWith(file))
      return index === -1 ? LONGEST.length : index
    }
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}
