import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { Button } from '../ui/controls.tsx'
import { Badge, CopyButton, DataTable } from '../ui/data.tsx'
import { Dialog, DialogButtons } from '../ui/dialog.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { EndpointForm } from './endpoint-form.tsx'
import type { ConsoleScope } from './scope.ts'
import { Deliveries } from './webhook-deliveries.tsx'

type Endpoint = Schema<'WebhookEndpoint'>

const PATH = '/v1/conferences/{conference}/webhook-endpoints'

type Opened = { what: 'change' | 'deliveries' | 'rotate' | 'delete'; endpoint: Endpoint }

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
                {
                  head: 'Address',
                  cell: ({ url, description }) => (
                    <span>
                      <span className="code">{url}</span>
                      {description === null ? null : (
                        <span className="hint block">{description}</span>
                      )}
                    </span>
                  ),
                },
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
                      <Button small onPress={() => setOpened({ what: 'change', endpoint })}>
                        Change<span className="visually-hidden"> {endpoint.url}</span>
                      </Button>
                      <Enable conference={conference} endpoint={endpoint} />
                      <Button small onPress={() => setOpened({ what: 'rotate', endpoint })}>
                        New secret<span className="visually-hidden"> of {endpoint.url}</span>
                      </Button>
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
        <EndpointForm conference={conference} onClose={() => setAdds(false)} onMade={setMade} />
      ) : null}
      {opened?.what === 'change' ? (
        <EndpointForm
          conference={conference}
          endpoint={opened.endpoint}
          onClose={() => setOpened(null)}
        />
      ) : null}
      {opened?.what === 'rotate' ? (
        <RotateSecret
          conference={conference}
          endpoint={opened.endpoint}
          onClose={() => setOpened(null)}
          onMade={setMade}
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

const DAY_SECONDS = 86_400

function RotateSecret({
  conference,
  endpoint,
  onClose,
  onMade,
}: {
  conference: string
  endpoint: Endpoint
  onClose: () => void
  onMade: (endpoint: Endpoint) => void
}) {
  const rotate = useAction({
    run: (id: string, key) =>
      dataOf(
        api.POST(`${PATH}/{id}/rotate-secret`, {
          params: { path: { conference, id }, header: { 'Idempotency-Key': key } },
          body: { overlap_seconds: DAY_SECONDS },
        }),
      ),
    changes: [['webhook-endpoints', conference]],
    onAnswer: onMade,
    onDone: onClose,
  })
  return (
    <Dialog title="Make a new signing secret?" isOpen onClose={onClose}>
      <p className="code">{endpoint.url}</p>
      <p>For a day, deliveries are also signed with the old secret. Then only with the new one.</p>
      <DialogButtons
        action="Make a new secret"
        onAction={() => rotate.mutate(endpoint.id)}
        onClose={onClose}
        busy={rotate.isPending}
      />
    </Dialog>
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
