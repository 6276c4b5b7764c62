import type { z } from 'zod'
import type { Row } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'
import { noSuch } from '../core/stripe-error.ts'
import type { Table } from '../core/table.ts'
import type { DeclineCode } from '../payments/payment-failure.ts'
import type { Form } from './form.ts'
import { paramError } from './param-errors.ts'
import { group } from './params.ts'

/** An API request that has passed all checks: whose account, why, and what spoils it. */
export type Call = Scope & { decline: DeclineCode | null }

export type PathParams = Readonly<Record<string, string>>

/** One endpoint. */
export type Operation = {
  method: 'GET' | 'POST' | 'DELETE'
  /** `/v1/refunds/:id` */
  path: string
  /** The kind of object in the answer, for `expand`; `list` when it is a page of them. */
  returns: string
  list: boolean
  /**
   * Checks the parameters; the second step carries the request out.
   *
   * @throws StripeError for a broken parameter, before anything has happened.
   */
  prepare(form: Form, path: PathParams): (call: Call) => unknown
}

/** What `expand` may ask for on a kind of object. */
export type Expandable = {
  [field: string]: {
    kind: string
    list?: boolean
    /** Absent from the object until asked for; made from the object's id. Else the field is an id. */
    load?: (scope: Scope, id: string) => unknown
    /** The field is always there in full; only what is below it can be expanded. */
    inline?: boolean
  }
}

/** All that the API knows of one kind of object. A new kind is one file that exports one. */
export type Resource = { kind: string; expandable: Expandable; operations: Operation[] }

type OperationSpec<S extends z.ZodType> = {
  method: Operation['method']
  path: string
  returns: string
  params: S
  run: (call: Call, params: z.output<S>, path: PathParams) => unknown
}

export function operation<S extends z.ZodType>(spec: OperationSpec<S>): Operation {
  const { method, path, returns, params, run } = spec
  return {
    method,
    path,
    returns,
    list: false,
    prepare(form, pathParams) {
      const result = params.safeParse(form)
      if (!result.success) throw paramError(result.error.issues)
      return (call) => run(call, result.data, pathParams)
    },
  }
}

/** `GET /v1/things/:id`. @param param the name under which Stripe reports a missing id. */
export function retrieveOperation<T extends Row>(path: string, table: Table<T>, param = 'id') {
  return operation({
    method: 'GET',
    path,
    returns: table.name,
    params: group({}),
    run: (call, _params, { id = '' }) => existing(call, table, id, param, 404),
  })
}

/** The row with this id, or Stripe's `No such …`. */
export function existing<T extends Row>(
  scope: Scope,
  table: Table<T>,
  id: string,
  param: string,
  status: 400 | 404 = 400,
): T {
  const row = scope.account.rows(table).get(id)
  if (row === undefined) throw noSuch(table.label, id, param, status)
  return row
}
