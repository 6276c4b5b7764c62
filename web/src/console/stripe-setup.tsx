import { useQuery } from '@tanstack/react-query'
import { type ReactNode, useState } from 'react'
import { useAction, useFormAction } from '../api/actions.ts'
import { type ApiError, api, dataOf, type Schema } from '../api/client.ts'
import { Button } from '../ui/controls.tsx'
import { Badge, CopyButton, type Tone, When } from '../ui/data.tsx'
import { Dialog, DialogButtons } from '../ui/dialog.tsx'
import { Loaded } from '../ui/feedback.tsx'
import { TextField } from '../ui/form.tsx'
import { FormDialog } from '../ui/form-dialog.tsx'
import type { ConsoleScope } from './scope.ts'

const PATH = '/v1/conferences/{conference}'

/** An event that somebody sends to try it out appears at once. */
const EVENT_REFRESH_MS = 2_000

/** The key, the webhook and the newest event: what is set up, and what is missing. */
export function StripeSetup({
  scope,
  settings,
}: {
  scope: ConsoleScope
  settings: Schema<'Conference'>
}) {
  const { conference, may, isOperator } = scope
  const maySecrets = may('settings:write')
  const mayEvents = may('stripe:sync')
  const [opened, setOpened] = useState<'key' | 'secret' | null>(null)
  const secrets = useQuery({
    queryKey: ['webhook-secrets', conference],
    enabled: maySecrets,
    queryFn: () => dataOf(api.GET(`${PATH}/webhook-secrets`, { params: { path: { conference } } })),
  })
  const newest = useQuery({
    queryKey: ['stripe-events', conference, 'newest'],
    enabled: mayEvents,
    refetchInterval: EVENT_REFRESH_MS,
    queryFn: () =>
      dataOf(
        api.GET(`${PATH}/stripe/events`, { params: { path: { conference }, query: { limit: 1 } } }),
      ),
  })
  const endpoint = `${location.origin}/webhooks/stripe/${settings.slug}`
  const hasKey = settings.stripe_secret_key !== null
  return (
    <section className="card stack">
      <h2>Stripe</h2>
      <ol className="steps">
        <Step tone={hasKey ? 'good' : 'bad'} state={hasKey ? 'Done' : 'Missing'} title="The key">
          <p>
            {hasKey ? (
              <>
                <span className="code">{settings.stripe_secret_key}</span>
                {settings.stripe_account === null ? null : (
                  <>
                    {' '}
                    of the account <span className="code">{settings.stripe_account}</span>
                  </>
                )}
                ,{' '}
                {settings.livemode === true ? 'live mode: real money' : 'test mode: no real money'}.
              </>
            ) : (
              'Without a secret or restricted key of Stripe nobody can pay by card.'
            )}
          </p>
          {isOperator ? (
            <Button small onPress={() => setOpened('key')}>
              {hasKey ? 'Replace the key' : 'Add the key'}
            </Button>
          ) : hasKey ? null : (
            <p className="muted">An operator of the platform adds it.</p>
          )}
        </Step>
        <Step {...webhookState(maySecrets, secrets.data?.data.length)} title="The webhook">
          <p>
            Add this address as an endpoint in Stripe’s dashboard, then paste its signing secret
            here:
          </p>
          <p className="row">
            <span className="code">{endpoint}</span>
            <CopyButton text={endpoint} label="Copy the address" />
          </p>
          {maySecrets ? (
            <>
              <Loaded query={secrets} lines={1}>
                {({ data }) =>
                  data.map((secret) => (
                    <Secret key={secret.id} conference={conference} secret={secret} />
                  ))
                }
              </Loaded>
              <Button small onPress={() => setOpened('secret')}>
                Add a signing secret
              </Button>
            </>
          ) : (
            <p className="muted">The secrets are shown to those who may change settings.</p>
          )}
        </Step>
        {mayEvents ? (
          <Step {...eventState(newest.data?.data.length)} title="Events">
            <Loaded query={newest} lines={1}>
              {({ data: [event] }) => (
                <p>
                  {event === undefined ? (
                    'No event has arrived yet. Send a test event from Stripe’s dashboard: it appears here.'
                  ) : (
                    <>
                      An event arrived <When at={event.received_at} ago />:{' '}
                      <span className="code">{event.type}</span>.
                    </>
                  )}
                </p>
              )}
            </Loaded>
          </Step>
        ) : null}
      </ol>
      {opened === 'key' ? (
        <KeyForm conference={conference} onClose={() => setOpened(null)} />
      ) : null}
      {opened === 'secret' ? (
        <SecretForm conference={conference} onClose={() => setOpened(null)} />
      ) : null}
    </section>
  )
}

type StepState = { tone: Tone; state: string }

/** While it loads, and if it does not. */
const UNKNOWN: StepState = { tone: 'neutral', state: 'Unknown' }

function webhookState(isShown: boolean, secrets: number | undefined): StepState {
  if (!isShown) return { tone: 'neutral', state: 'Hidden' }
  if (secrets === undefined) return UNKNOWN
  return secrets > 0 ? { tone: 'good', state: 'Done' } : { tone: 'bad', state: 'Missing' }
}

function eventState(events: number | undefined): StepState {
  if (events === undefined) return UNKNOWN
  return events > 0 ? { tone: 'good', state: 'Works' } : { tone: 'warn', state: 'Waiting' }
}

function Step({
  tone,
  state,
  title,
  children,
}: StepState & { title: string; children: ReactNode }) {
  return (
    <li className="stack-tight">
      <h3 className="row">
        {title} <Badge tone={tone}>{state}</Badge>
      </h3>
      {children}
    </li>
  )
}

function KeyForm({ conference, onClose }: { conference: string; onClose: () => void }) {
  const save = useFormAction({
    run: (text: string, key) =>
      dataOf(
        api.PATCH(PATH, {
          params: { path: { conference }, header: { 'Idempotency-Key': key } },
          body: { stripe_secret_key: text },
        }),
      ),
    changes: [['conference', conference]],
    done: 'The key was saved. Stripe accepted it.',
    onDone: onClose,
  })
  return (
    <PasteDialog
      title="The key of Stripe"
      action="Save"
      label="Secret or restricted key"
      name="stripe_secret_key"
      hint="From Stripe’s dashboard: sk_… or rk_… It is checked, encrypted, and never shown again."
      save={save}
      onClose={onClose}
    />
  )
}

function SecretForm({ conference, onClose }: { conference: string; onClose: () => void }) {
  const save = useFormAction({
    run: (text: string, key) =>
      dataOf(
        api.POST(`${PATH}/webhook-secrets`, {
          params: { path: { conference }, header: { 'Idempotency-Key': key } },
          body: { secret: text },
        }),
      ),
    changes: [['webhook-secrets', conference]],
    done: 'The secret was saved. It is used from now on.',
    onDone: onClose,
  })
  return (
    <PasteDialog
      title="Add a signing secret"
      action="Add"
      label="Signing secret"
      name="secret"
      hint="whsec_… of the endpoint. Several may be active, for a change without a gap."
      save={save}
      onClose={onClose}
    />
  )
}

/** Takes a secret of Stripe that a person pastes. */
function PasteDialog({
  title,
  action,
  label,
  name,
  hint,
  save,
  onClose,
}: {
  title: string
  action: string
  label: string
  /** The field of the API. */
  name: string
  hint: string
  save: { mutate: (text: string) => void; isPending: boolean; error: ApiError | null }
  onClose: () => void
}) {
  const [text, setText] = useState('')
  return (
    <FormDialog
      title={title}
      action={action}
      onSubmit={() => save.mutate(text.trim())}
      onClose={onClose}
      busy={save.isPending}
      error={save.error}
      shown={[name]}
    >
      <TextField
        label={label}
        name={name}
        type="password"
        autoComplete="off"
        isRequired
        autoFocus
        value={text}
        onChange={setText}
        error={save.error}
        hint={hint}
      />
    </FormDialog>
  )
}

function Secret({ conference, secret }: { conference: string; secret: Schema<'WebhookSecret'> }) {
  const [asks, setAsks] = useState(false)
  const remove = useAction({
    // A repeat is a no-op.
    run: () =>
      dataOf(
        api.DELETE(`${PATH}/webhook-secrets/{id}`, {
          params: { path: { conference, id: secret.id } },
        }),
      ),
    changes: [['webhook-secrets', conference]],
    done: 'The secret was deleted.',
    onDone: () => setAsks(false),
  })
  return (
    <p className="row">
      <span className="code">{secret.secret}</span>
      <span className="muted">
        added <When at={secret.created_at} ago />
      </span>
      <Button small kind="danger" onPress={() => setAsks(true)}>
        Delete<span className="visually-hidden"> {secret.secret}</span>
      </Button>
      <Dialog title="Delete this secret?" isOpen={asks} onClose={() => setAsks(false)}>
        <p>Events that are signed with it are refused from then on.</p>
        <DialogButtons
          action="Delete"
          danger
          onAction={() => remove.mutate()}
          onClose={() => setAsks(false)}
          busy={remove.isPending}
        />
      </Dialog>
    </p>
  )
}
