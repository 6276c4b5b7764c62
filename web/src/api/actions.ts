import { type QueryKey, useMutation, useQueryClient } from '@tanstack/react-query'
import { useRef } from 'react'
import { toast } from '../ui/toasts.tsx'
import { type ApiError, newIdempotencyKey } from './client.ts'

type Action<Input, Result> = {
  /** Sends the write. It puts the key into the header `Idempotency-Key`. */
  run: (input: Input, idempotencyKey: string) => Promise<Result>
  /** Queries that the write changes, by the beginning of their keys. */
  changes?: readonly QueryKey[]
  /** What to say when it is done. */
  done?: string | ((result: Result) => string)
  onDone?: (result: Result) => void
  /** The caller shows every error itself. */
  quiet?: boolean
}

/**
 * A write that a person starts. The key stays the same until the write succeeds, so a second click and a
 * repeat after a lost answer do nothing twice. Errors are shown; forms read `error` for their fields.
 */
export function useAction<Input = void, Result = unknown>(action: Action<Input, Result>) {
  const queries = useQueryClient()
  const key = useRef<{ of: string; key: string } | null>(null)
  const inFlight = useRef<string | null>(null)
  const mutation = useMutation<Result, ApiError, Input>({
    mutationFn: (input) => {
      const of = JSON.stringify(input ?? null)
      // Another input is another intention.
      if (key.current?.of !== of) key.current = { of, key: newIdempotencyKey() }
      return action.run(input, key.current.key)
    },
    onSettled: () => {
      inFlight.current = null
    },
    onSuccess: async (result) => {
      key.current = null
      const { done } = action
      if (done !== undefined) toast({ text: typeof done === 'string' ? done : done(result) })
      await Promise.all(
        (action.changes ?? []).map((queryKey) => queries.invalidateQueries({ queryKey })),
      )
      action.onDone?.(result)
    },
    onError: (error) => {
      // A refusal is final, so the same input is a new intention. Other failures repeat under the key.
      if (error.status >= 400 && error.status < 500 && error.status !== 409) key.current = null
      if (action.quiet !== true && error.errors.length === 0) {
        toast({ text: error.message, kind: 'error' })
      }
    },
  })
  return {
    ...mutation,
    /** The second press of a double click comes before the button is busy. */
    mutate: (input: Input) => {
      const of = JSON.stringify(input ?? null)
      if (inFlight.current === of) return
      inFlight.current = of
      mutation.mutate(input)
    },
  }
}
