import { useState } from 'react'
import { useFormAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { CheckboxField, TextField } from '../ui/form.tsx'
import { FormDialog } from '../ui/form-dialog.tsx'

type Endpoint = Schema<'WebhookEndpoint'>
type EventType = Schema<'OutgoingEventType'>

const PATH = '/v1/conferences/{conference}/webhook-endpoints'

/** What happened, for each type of event. */
const EVENTS: Record<EventType, string> = {
  'purchase.paid': 'A purchase is paid, or a free one approved',
  'purchase.failed': 'A purchase failed or was cancelled',
  'purchase.partially_refunded': 'A part of the money went back',
  'purchase.refunded': 'All of the money went back',
  'purchase.refund_failed': 'A refund failed',
  'purchase.revoked': 'A free purchase was taken back',
  'purchase.reinstated': 'A refunded purchase is paid again',
  'purchase.disputed': 'A dispute was opened',
  'purchase.dispute_closed': 'A dispute was won or lost',
  'vouchers.issued': 'Codes were issued',
  'vouchers.deactivated': 'Codes were deactivated',
  'vouchers.activated': 'Codes were activated',
  'charge.succeeded': 'A charge of a saved card was paid',
  'charge.declined': 'A charge of a saved card was declined',
  'charge.refunded': 'A charge of a saved card was refunded',
}

const TYPES = Object.keys(EVENTS) as EventType[]

/** Adds an address for events, or changes one. */
export function EndpointForm({
  conference,
  endpoint,
  onClose,
  onMade,
}: {
  conference: string
  /** Absent: a new one. */
  endpoint?: Endpoint
  onClose: () => void
  /** A new one has the secret that is not shown again. */
  onMade?: (endpoint: Endpoint) => void
}) {
  const [url, setUrl] = useState(endpoint?.url ?? '')
  const [description, setDescription] = useState(endpoint?.description ?? '')
  const [isAll, setAll] = useState(endpoint === undefined || endpoint.event_types === null)
  const [types, setTypes] = useState<readonly EventType[]>(endpoint?.event_types ?? [])
  const save = useFormAction({
    run: (body: Schema<'CreateWebhookEndpoint'>, key) => {
      const header = { 'Idempotency-Key': key }
      return dataOf(
        endpoint === undefined
          ? api.POST(PATH, { params: { path: { conference }, header }, body })
          : api.PATCH(`${PATH}/{id}`, {
              params: { path: { conference, id: endpoint.id }, header },
              body,
            }),
      )
    },
    changes: [['webhook-endpoints', conference]],
    ...(endpoint === undefined ? {} : { done: 'The address was changed.' }),
    ...(onMade === undefined ? {} : { onAnswer: onMade }),
    onDone: onClose,
  })
  return (
    <FormDialog
      title={endpoint === undefined ? 'Add an address' : 'Change the address'}
      action={endpoint === undefined ? 'Add' : 'Save'}
      onSubmit={() =>
        save.mutate({
          url: url.trim(),
          description: description.trim() === '' ? null : description.trim(),
          event_types: isAll ? null : TYPES.filter((type) => types.includes(type)),
        })
      }
      onClose={onClose}
      busy={save.isPending}
      isDisabled={!isAll && types.length === 0}
      error={save.error}
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
        error={save.error}
        hint="https. It gets the events signed."
      />
      <TextField
        label="Description (optional)"
        name="description"
        value={description}
        onChange={setDescription}
        error={save.error}
      />
      <fieldset className="fields">
        <legend>Events</legend>
        <CheckboxField label="All, also those of later releases" value={isAll} onChange={setAll} />
        {isAll
          ? null
          : TYPES.map((type) => (
              <CheckboxField
                key={type}
                value={types.includes(type)}
                onChange={(isOn) =>
                  setTypes(isOn ? [...types, type] : types.filter((each) => each !== type))
                }
                label={
                  <span>
                    {EVENTS[type]}
                    <br />
                    <span className="hint code">{type}</span>
                  </span>
                }
              />
            ))}
      </fieldset>
    </FormDialog>
  )
}
