import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { useAction, useFormAction } from '../api/actions.ts'
import { ApiError, api, dataOf, newIdempotencyKey, type Schema } from '../api/client.ts'
import { Button } from '../ui/controls.tsx'
import { Badge, CopyButton, When } from '../ui/data.tsx'
import { Dialog, DialogButtons } from '../ui/dialog.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { OtherErrors, TextField } from '../ui/form.tsx'
import { useItemName } from './names.ts'
import type { ConsoleScope } from './scope.ts'
import { benefitOf, verdictOf } from './voucher-verdict.ts'

type Voucher = Schema<'Voucher'>
type Redemption = Schema<'Redemption'>

/** Another door or the ticket shop may use the code meanwhile. */
const REFRESH_MS = 5_000

const PATH = '/v1/conferences/{conference}/vouchers/{code}'

/** Null: there is no such code. */
async function findVoucher(
  { conference, may }: ConsoleScope,
  code: string,
): Promise<Voucher | null> {
  if (!may('vouchers:redeem')) {
    const { data } = await dataOf(
      api.GET('/v1/conferences/{conference}/vouchers', {
        params: { path: { conference }, query: { code } },
      }),
    )
    return data[0] ?? null
  }
  try {
    return await dataOf(api.GET(PATH, { params: { path: { conference, code } } }))
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null
    throw error
  }
}

/** Whether a code is good and why, and what can be done with it. Made for one hand on a phone. */
export function VoucherPanel({ scope, code }: { scope: ConsoleScope; code: string }) {
  const voucher = useQuery({
    queryKey: ['vouchers', scope.conference, code],
    queryFn: () => findVoucher(scope, code),
    refetchInterval: REFRESH_MS,
  })
  return (
    <Loaded query={voucher}>
      {(found) =>
        found === null ? (
          <Empty title="This code does not exist.">
            <p>Check each letter: codes have no 0, 1, I and O after their prefix.</p>
          </Empty>
        ) : (
          <div className="stack">
            <VerdictCard scope={scope} voucher={found} />
            {scope.may('vouchers:redeem') ? <Uses scope={scope} code={found.code} /> : null}
            <Details scope={scope} voucher={found} />
          </div>
        )
      }
    </Loaded>
  )
}

function VerdictCard({ scope, voucher }: { scope: ConsoleScope; voucher: Voucher }) {
  const { isGood, title, why } = verdictOf(voucher)
  const item = useItemName(scope, voucher)
  const person = voucher.assigned_to
  return (
    <section className={`verdict ${isGood ? 'verdict-good' : 'verdict-bad'}`} aria-label="Result">
      <p className="code">{voucher.code}</p>
      <div role="status" className="stack-tight">
        <h2>{title}</h2>
        <p>{why}</p>
      </div>
      <p>
        {[
          item ?? 'Any ticket',
          benefitOf(voucher, scope.currency),
          ...(person === null ? [] : [`for ${person.name ?? person.email}`]),
        ].join(' · ')}
      </p>
      {isGood && scope.may('vouchers:redeem') ? <Redeem scope={scope} voucher={voucher} /> : null}
    </section>
  )
}

/** For people at the door, who have no order: every use needs a reference. */
const doorReference = () =>
  `door-${new Date().toISOString().slice(0, 10)}-${newIdempotencyKey().slice(0, 8)}`

function Redeem({ scope: { conference }, voucher }: { scope: ConsoleScope; voucher: Voucher }) {
  const [order, setOrder] = useState('')
  // The same reference takes one use only, however often it is sent.
  const [fallback, setFallback] = useState(doorReference)
  const redeem = useFormAction({
    run: (reference: string, key) =>
      dataOf(
        api.POST(`${PATH}/redemptions`, {
          params: {
            path: { conference, code: voucher.code },
            header: { 'Idempotency-Key': key },
          },
          body: { reference },
        }),
      ),
    changes: [
      ['vouchers', conference],
      ['redemptions', conference],
    ],
    done: `${voucher.code} was redeemed.`,
    onDone: () => {
      setOrder('')
      setFallback(doorReference())
    },
  })
  return (
    <form
      className="stack"
      onSubmit={(event) => {
        event.preventDefault()
        redeem.mutate(order.trim() === '' ? fallback : order.trim())
      }}
    >
      <Button kind="primary" big type="submit" busy={redeem.isPending}>
        Redeem
      </Button>
      <TextField
        label="Order (optional)"
        name="reference"
        value={order}
        onChange={setOrder}
        error={redeem.error}
        hint="The number of the order in the ticket shop. Empty at the door."
      />
      <OtherErrors error={redeem.error} shown={['reference']} />
    </form>
  )
}

function Uses({ scope: { conference }, code }: { scope: ConsoleScope; code: string }) {
  const redemptions = useQuery({
    queryKey: ['redemptions', conference, 'code', code],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/redemptions', {
          params: { path: { conference }, query: { voucher: code } },
        }),
      ),
    refetchInterval: REFRESH_MS,
  })
  return (
    <Loaded query={redemptions} lines={2}>
      {({ data }) =>
        data.length === 0 ? null : (
          <section className="card stack">
            <h2>Uses</h2>
            <ul className="timeline">
              {data.map((redemption) => (
                <Use key={redemption.id} conference={conference} redemption={redemption} />
              ))}
            </ul>
          </section>
        )
      }
    </Loaded>
  )
}

const USE_WORDS: Record<Redemption['status'], string | null> = {
  held: 'Held',
  redeemed: null,
  released: 'Released',
  expired: 'Hold ended',
}

function Use({ conference, redemption }: { conference: string; redemption: Redemption }) {
  const { id, reference, status, created_at: at, expires_at: endsAt } = redemption
  const releasedAt = redemption.released_at
  const [asks, setAsks] = useState(false)
  const release = useAction({
    // A repeat is a no-op.
    run: () =>
      dataOf(
        api.DELETE('/v1/conferences/{conference}/redemptions/{redemption}', {
          params: { path: { conference, redemption: id } },
        }),
      ),
    changes: [
      ['vouchers', conference],
      ['redemptions', conference],
    ],
    done: 'The use was released.',
    onDone: () => setAsks(false),
  })
  return (
    <li className="row row-apart">
      <div>
        <p>
          {reference.startsWith('door-') ? 'At the door' : `Order ${reference}`}{' '}
          {USE_WORDS[status] === null ? null : <Badge>{USE_WORDS[status]}</Badge>}
        </p>
        <p className="muted">
          <When at={at} />
          {status === 'held' ? (
            <>
              , held until <When at={endsAt} />
            </>
          ) : null}
          {releasedAt === null ? null : (
            <>
              , released <When at={releasedAt} />
            </>
          )}
        </p>
      </div>
      {releasedAt === null ? <Button onPress={() => setAsks(true)}>Release</Button> : null}
      <Dialog title="Release this use?" isOpen={asks} onClose={() => setAsks(false)}>
        <p>The code can be used again, by whoever has it.</p>
        <DialogButtons
          action="Release"
          onAction={() => release.mutate()}
          onClose={() => setAsks(false)}
          busy={release.isPending}
        />
      </Dialog>
    </li>
  )
}

function Details({ scope, voucher }: { scope: ConsoleScope; voucher: Voucher }) {
  const item = useItemName(scope, voucher)
  const { assigned_to: person, purchase } = voucher
  return (
    <section className="card stack">
      <div className="row row-apart">
        <h2>About this code</h2>
        <span className="row">
          <CopyButton text={voucher.code} label="Copy the code" />
          {scope.may('vouchers:write') ? <Activation scope={scope} voucher={voucher} /> : null}
        </span>
      </div>
      <dl className="facts">
        <dt>Gives</dt>
        <dd>
          {benefitOf(voucher, scope.currency)}
          {item === null ? null : `: ${item}`}
        </dd>
        <dt>Used</dt>
        <dd>
          {voucher.times_used} of {voucher.max_uses}
        </dd>
        <dt>Person</dt>
        <dd>
          {person === null
            ? 'Assigned to nobody'
            : [person.name, person.email].filter((each) => each !== null).join(', ')}
        </dd>
        <dt>Works from</dt>
        <dd>{voucher.valid_from === null ? 'At once' : <When at={voucher.valid_from} />}</dd>
        <dt>Works until</dt>
        <dd>{voucher.valid_until === null ? 'No end' : <When at={voucher.valid_until} />}</dd>
        <dt>Issued</dt>
        <dd>
          <When at={voucher.created_at} />
          {purchase === null ? (
            ', without a purchase'
          ) : scope.may('purchases:read') ? (
            <>
              {', '}
              <Link href={`/purchases/${purchase}`}>by this purchase</Link>
            </>
          ) : null}
        </dd>
      </dl>
    </section>
  )
}

/** Deactivates a code, and activates it again. */
function Activation({ scope: { conference }, voucher }: { scope: ConsoleScope; voucher: Voucher }) {
  const [asks, setAsks] = useState(false)
  const isOff = voucher.state === 'deactivated'
  const change = useAction({
    run: (_: void, key) =>
      dataOf(
        api.POST(`${PATH}/${isOff ? 'activate' : 'deactivate'}`, {
          params: {
            path: { conference, code: voucher.code },
            header: { 'Idempotency-Key': key },
          },
        }),
      ),
    changes: [['vouchers', conference]],
    done: isOff ? 'The code is active again.' : 'The code is deactivated.',
    onDone: () => setAsks(false),
  })
  const action = isOff ? 'Activate' : 'Deactivate'
  return (
    <>
      <Button small kind={isOff ? 'normal' : 'danger'} onPress={() => setAsks(true)}>
        {action}
      </Button>
      <Dialog title={`${action} ${voucher.code}?`} isOpen={asks} onClose={() => setAsks(false)}>
        <p>
          {isOff
            ? 'It can be redeemed again. If a refund requires it to stay inactive, this is refused.'
            : 'It can no longer be redeemed, until it is activated again.'}
        </p>
        <DialogButtons
          action={action}
          onAction={() => change.mutate()}
          onClose={() => setAsks(false)}
          busy={change.isPending}
          danger={!isOff}
        />
      </Dialog>
    </>
  )
}
