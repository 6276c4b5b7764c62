import { invalidParameter } from '../core/stripe-error.ts'

/** Tiered prices need tiers, which the fake does not know; so this always ends in a refusal. */
export function requireTiers(scheme: 'per_unit' | 'tiered' | undefined): void {
  if (scheme === 'tiered')
    throw invalidParameter('tiers', 'Missing required param: tiers.', 'parameter_missing')
}
