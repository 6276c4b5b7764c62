import { type QueryKey, useMutation, useQueryClient } from '@tanstack/react-query'
import { useEffect, useRef } from 'react'
import { toast } from '../ui/toasts.tsx'
import { ApiError, newIdempotencyKey } from './client.ts'

type Action<Input, Result> = {
  /** Sends the write. It puts the key into the header `Idempotency-Key`. */
  run: (input: Input, idempotencyKey: string) => Promise<Result>
  /** Queries that the write changes, by the beginning of their keys. */
  changes?: readonly QueryKey[]
  /** What to say when it is done. */
  done?: string | ((result: Result) => string)
  /** Closes the dialog or opens the next page. Left out if the person has closed or left it meanwhile. */
  onDone?: (result: Result) => void
  /** For what must not be lost when the person has closed the dialog, such as a secret that is shown once. */
  onAnswer?: (result: Result) => void
  /** What the caller shows itself: every error, or those of fields. Others are messages at the edge of the page. */
  shows?: 'errors' | 'field errors'
}

/**
 * A write that a person starts. The key stays the same until the write succeeds, so a second click and a
 * repeat after a lost answer do nothing twice. Errors are shown; forms read `error` for their fields.
 */
export function useAction<Input = void, Result = unknown>(action: Action<Input, Result>) {
  const queries = useQueryClient()
  const key = useRef<{ of: string; key: string } | null>(null)
  const inFlight = useRef<string | null>(null)
  const isThere = useRef(false)
  useEffect(() => {
    isThere.current = true
    return () => {
      isThere.current = false
    }
  }, [])
  const mutation = useMutation<Result, Error, Input>({
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
      action.onAnswer?.(result)
      if (isThere.current) action.onDone?.(result)
    },
    onError: (error) => {
      // A refusal is final, so the same input is a new intention. Other failures repeat under the key.
      if (isRefusal(error)) key.current = null
      if (!isThere.current || !isShown(error, action.shows)) {
        toast({ text: error.message, kind: 'error' })
      }
    },
  })
  return {
    ...mutation,
    /** What the API answered. Other failures, such as that of the clipboard, are only told. */
    error: mutation.error instanceof ApiError ? mutation.error : null,
    /** The second press of a double click comes before the button is busy. */
    mutate: (input: Input) => {
      const of = JSON.stringify(input ?? null)
      if (inFlight.current === of) return
      inFlight.current = of
      mutation.mutate(input)
    },
  }
}

const isRefusal = (error: Error) =>
  error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 409

/** Whether the caller shows the error itself. */
function isShown(error: Error, shows: 'errors' | 'field errors' | undefined): boolean {
  if (!(error instanceof ApiError) || shows === undefined) return false
  return shows === 'errors' || error.errors.length > 0
}

/** The same for a form, which shows the errors of its fields. */
export const useFormAction = <Input = void, Result = unknown>(action: Action<Input, Result>) =>
  useAction({ shows: 'field errors', ...action })
