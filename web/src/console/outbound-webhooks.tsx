import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { Button } from '../ui/controls.tsx'
import { Badge, CopyButton, DataTable, type Tone, When } from '../ui/data.tsx'
import { Dialog, DialogButtons } from '../ui/dialog.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { TextField } from '../ui/form.tsx'
import { FormDialog } from '../ui/form-dialog.tsx'
import type { ConsoleScope } from './scope.ts'

type Endpoint = Schema<'WebhookEndpoint'>
type Delivery = Schema<'WebhookDelivery'>

const PATH = '/v1/conferences/{conference}/webhook-endpoints'

/** Deliveries go on while somebody looks. */
const REFRESH_MS = 5_000

type Opened = { what: 'deliveries' | 'delete'; endpoint: Endpoint }

/** The addresses to which the conference wants events sent, and what was sent. */
export function OutboundWebhooks({ scope: { conference } }: { scope: ConsoleScope }) {
  const [adds, setAdds] = useState(false)
  const [opened, setOpened] = useState<Opened | null>(null)
  const [made, setMade] = useState<Endpoint | null>(null)
  const endpoints = useQuery({
    queryKey: ['webhook-endpoints', conference],
    queryFn: () => dataOf(api.GET(PATH, { params: { path: { conference } } })),
  })
  return (
    <section className="stack">
      <div className="page-head">
        <h2>Outbound webhooks</h2>
        <Button onPress={() => setAdds(true)}>Add an address</Button>
      </div>
      <Loaded query={endpoints} lines={2}>
        {({ data }) =>
          data.length === 0 ? (
            <Empty title="No other system is told about purchases and vouchers." />
          ) : (
            <DataTable
              caption="Outbound webhooks"
              rows={data}
              keyOf={({ id }) => id}
              columns={[
                { head: 'Address', cell: ({ url }) => <span className="code">{url}</span> },
                {
                  head: 'Events',
                  cell: ({ event_types: types }) => (types === null ? 'All' : types.join(', ')),
                },
                {
                  head: 'State',
                  cell: ({ enabled, disabled_by: by }) => {
                    if (enabled) return <Badge tone="good">Enabled</Badge>
                    return (
                      <Badge tone="warn">
                        {by === 'receiver' ? 'Refused by the receiver' : 'Disabled'}
                      </Badge>
                    )
                  },
                },
                {
                  head: 'Actions',
                  cell: (endpoint) => (
                    <span className="row">
                      <Button small onPress={() => setOpened({ what: 'deliveries', endpoint })}>
                        Deliveries<span className="visually-hidden"> to {endpoint.url}</span>
                      </Button>
                      <Enable conference={conference} endpoint={endpoint} />
                      <Button
                        small
                        kind="danger"
                        onPress={() => setOpened({ what: 'delete', endpoint })}
                      >
                        Delete<span className="visually-hidden"> {endpoint.url}</span>
                      </Button>
                    </span>
                  ),
                },
              ]}
            />
          )
        }
      </Loaded>
      {adds ? (
        <EndpointForm
          conference={conference}
          onClose={() => setAdds(false)}
          onMade={(endpoint) => {
            setAdds(false)
            setMade(endpoint)
          }}
        />
      ) : null}
      {made === null ? null : (
        <Dialog title="The signing secret" isOpen onClose={() => setMade(null)}>
          <p className="note note-warn">
            Copy it now for the receiver, which checks signatures with it. It is not shown again.
          </p>
          <p className="code">{made.secret}</p>
          <CopyButton text={made.secret} label="Copy the secret" />
          <DialogButtons
            action="Done"
            onAction={() => setMade(null)}
            onClose={() => setMade(null)}
            busy={false}
          />
        </Dialog>
      )}
      {opened?.what === 'deliveries' ? (
        <Deliveries
          conference={conference}
          endpoint={opened.endpoint}
          onClose={() => setOpened(null)}
        />
      ) : null}
      {opened?.what === 'delete' ? (
        <DeleteEndpoint
          conference={conference}
          endpoint={opened.endpoint}
          onClose={() => setOpened(null)}
        />
      ) : null}
    </section>
  )
}

function Enable({ conference, endpoint }: { conference: string; endpoint: Endpoint }) {
  const change = useAction({
    run: (enabled: boolean, key) =>
      dataOf(
        api.PATCH(`${PATH}/{id}`, {
          params: { path: { conference, id: endpoint.id }, header: { 'Idempotency-Key': key } },
          body: { enabled },
        }),
      ),
    changes: [['webhook-endpoints', conference]],
    done: ({ enabled }) =>
      enabled ? 'The address gets events again.' : 'The address is disabled.',
  })
  return (
    <Button small busy={change.isPending} onPress={() => change.mutate(!endpoint.enabled)}>
      {endpoint.enabled ? 'Disable' : 'Enable'}
      <span className="visually-hidden"> {endpoint.url}</span>
    </Button>
  )
}

function EndpointForm({
  conference,
  onClose,
  onMade,
}: {
  conference: string
  onClose: () => void
  onMade: (endpoint: Endpoint) => void
}) {
  const [url, setUrl] = useState('')
  const [description, setDescription] = useState('')
  const create = useAction({
    run: (body: Schema<'CreateWebhookEndpoint'>, key) =>
      dataOf(
        api.POST(PATH, {
          params: { path: { conference }, header: { 'Idempotency-Key': key } },
          body,
        }),
      ),
    changes: [['webhook-endpoints', conference]],
    onDone: onMade,
  })
  return (
    <FormDialog
      title="Add an address"
      action="Add"
      onSubmit={() =>
        create.mutate({
          url: url.trim(),
          description: description.trim() === '' ? null : description.trim(),
          event_types: null,
        })
      }
      onClose={onClose}
      busy={create.isPending}
      error={create.error}
      shown={['url', 'description']}
    >
      <TextField
        label="Address"
        name="url"
        type="url"
        isRequired
        autoFocus
        value={url}
        onChange={setUrl}
        error={create.error}
        hint="https. It gets every event of purchases and vouchers, signed."
      />
      <TextField
        label="Description"
        name="description"
        value={description}
        onChange={setDescription}
        error={create.error}
      />
    </FormDialog>
  )
}

const STATES: Record<Delivery['state'], { tone: Tone; word: string }> = {
  pending: { tone: 'busy', word: 'Pending' },
  delivered: { tone: 'good', word: 'Delivered' },
  failed: { tone: 'bad', word: 'Failed' },
}

function Deliveries({
  conference,
  endpoint,
  onClose,
}: {
  conference: string
  endpoint: Endpoint
  onClose: () => void
}) {
  const deliveries = useQuery({
    queryKey: ['deliveries', conference, endpoint.id],
    refetchInterval: REFRESH_MS,
    queryFn: () =>
      dataOf(
        api.GET(`${PATH}/{id}/deliveries`, {
          params: { path: { conference, id: endpoint.id }, query: { limit: 25 } },
        }),
      ),
  })
  return (
    <Dialog title={`Deliveries to ${endpoint.url}`} isOpen onClose={onClose} wide>
      <Loaded query={deliveries}>
        {({ data }) =>
          data.length === 0 ? (
            <Empty title="Nothing was sent yet." />
          ) : (
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
                          {attempts} tries{status === null ? '' : `, status ${status}`}
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

function DeleteEndpoint({
  conference,
  endpoint,
  onClose,
}: {
  conference: string
  endpoint: Endpoint
  onClose: () => void
}) {
  const remove = useAction({
    // A repeat is a no-op.
    run: () =>
      dataOf(api.DELETE(`${PATH}/{id}`, { params: { path: { conference, id: endpoint.id } } })),
    changes: [['webhook-endpoints', conference]],
    done: 'The address was deleted.',
    onDone: onClose,
  })
  return (
    <Dialog title="Delete this address?" isOpen onClose={onClose}>
      <p className="code">{endpoint.url}</p>
      <p>It gets no more events. The list of its deliveries is deleted too.</p>
      <DialogButtons
        action="Delete"
        danger
        onAction={() => remove.mutate()}
        onClose={onClose}
        busy={remove.isPending}
      />
    </Dialog>
  )
}
