import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { SelectField } from '../ui/choices.tsx'
import { Button } from '../ui/controls.tsx'
import { Badge, DataTable, type Tone, When } from '../ui/data.tsx'
import { Dialog, DialogButtons } from '../ui/dialog.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { plural } from '../ui/format.ts'
import { Pager } from '../ui/list.tsx'

type Endpoint = Schema<'WebhookEndpoint'>
type Delivery = Schema<'WebhookDelivery'>

const PATH = '/v1/conferences/{conference}/webhook-endpoints'

const STATES: Record<Delivery['state'], { tone: Tone; word: string }> = {
  pending: { tone: 'busy', word: 'Pending' },
  delivered: { tone: 'good', word: 'Delivered' },
  failed: { tone: 'bad', word: 'Failed' },
}

/** Deliveries go on while somebody looks. */
const REFRESH_MS = 5_000

const SHOWN = [
  { key: 'all', label: 'All' },
  { key: 'pending', label: 'Pending' },
  { key: 'delivered', label: 'Delivered' },
  { key: 'failed', label: 'Failed' },
] as const

/** What was sent to an address, with its outcome. */
export function Deliveries({
  conference,
  endpoint,
  onClose,
}: {
  conference: string
  endpoint: Endpoint
  onClose: () => void
}) {
  const [state, setState] = useState<(typeof SHOWN)[number]['key']>('all')
  // The page of a dialog is in no address.
  const [trail, setTrail] = useState<readonly string[]>([])
  const cursor = trail.at(-1)
  const deliveries = useQuery({
    queryKey: ['deliveries', conference, endpoint.id, state, cursor],
    refetchInterval: REFRESH_MS,
    queryFn: () =>
      dataOf(
        api.GET(`${PATH}/{id}/deliveries`, {
          params: {
            path: { conference, id: endpoint.id },
            query: { limit: 10, cursor, ...(state === 'all' ? {} : { state }) },
          },
        }),
      ),
  })
  return (
    <Dialog title={`Deliveries to ${endpoint.url}`} isOpen onClose={onClose} wide>
      <SelectField
        label="Show"
        value={state}
        onChange={(key) => {
          setState(key)
          setTrail([])
        }}
        options={SHOWN}
      />
      <Loaded query={deliveries}>
        {({ data, ...page }) =>
          data.length === 0 ? (
            <Empty
              title={state === 'all' ? 'Nothing was sent yet.' : 'No delivery is in this state.'}
            />
          ) : (
            <>
              <DataTable
                caption="The newest deliveries"
                rows={data}
                keyOf={({ id }) => id}
                columns={[
                  { head: 'Event', cell: ({ payload }) => payload.type },
                  { head: 'When', cell: ({ created_at: at }) => <When at={at} /> },
                  {
                    head: 'State',
                    cell: ({ state, attempts, last_status: status, last_error: error }) => (
                      <span>
                        <Badge tone={STATES[state].tone}>{STATES[state].word}</Badge>{' '}
                        {state === 'delivered' ? null : (
                          <span className="muted">
                            {plural(attempts, 'try', 'tries')}
                            {status === null ? '' : `, status ${status}`}
                            {error === null ? '' : `, ${error}`}
                          </span>
                        )}
                      </span>
                    ),
                  },
                  {
                    head: 'Actions',
                    cell: (delivery) => <Replay conference={conference} delivery={delivery} />,
                  },
                ]}
              />
              <Pager
                page={page}
                url={{
                  cursor,
                  open: (next) => setTrail(next === undefined ? [] : [...trail, next]),
                  ...(trail.length === 0 ? {} : { previous: () => setTrail(trail.slice(0, -1)) }),
                }}
              />
            </>
          )
        }
      </Loaded>
      <DialogButtons action="Done" onAction={onClose} onClose={onClose} busy={false} />
    </Dialog>
  )
}

function Replay({ conference, delivery }: { conference: string; delivery: Delivery }) {
  const replay = useAction({
    run: (_: void, key) =>
      dataOf(
        api.POST(`${PATH}/{id}/deliveries/{delivery}/replay`, {
          params: {
            path: { conference, id: delivery.endpoint, delivery: delivery.id },
            header: { 'Idempotency-Key': key },
          },
        }),
      ),
    changes: [['deliveries', conference]],
    done: 'It is sent again.',
  })
  return (
    <Button
      small
      busy={replay.isPending}
      isDisabled={delivery.state === 'pending'}
      onPress={() => replay.mutate()}
    >
      Send again
    </Button>
  )
}
