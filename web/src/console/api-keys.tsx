import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useAction, useFormAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { SelectField } from '../ui/choices.tsx'
import { Button } from '../ui/controls.tsx'
import { Badge, CopyButton, DataTable, LastUse, When } from '../ui/data.tsx'
import { Dialog, DialogButtons } from '../ui/dialog.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { TextField } from '../ui/form.tsx'
import { FormDialog } from '../ui/form-dialog.tsx'
import { fromTimeField } from '../ui/format.ts'
import { Pager } from '../ui/list.tsx'
import { useListUrl } from '../ui/list-url.ts'
import { GrantFields, grantOf, isComplete, NO_RIGHTS, useRights } from './rights.tsx'
import type { ConsoleScope } from './scope.ts'

type ApiKey = Schema<'ApiKey'>

const PATH = '/v1/conferences/{conference}/api-keys'

type Opened = { what: 'new' } | { what: 'rotate' | 'revoke'; apiKey: ApiKey }

/** The keys of programs. A key is shown once, when it is made. */
export function ApiKeys({ scope }: { scope: ConsoleScope }) {
  const { conference } = scope
  const url = useListUrl('keys')
  const { cursor } = url
  const [opened, setOpened] = useState<Opened | null>(null)
  const [made, setMade] = useState<ApiKey | null>(null)
  const mayDo = useRights(scope)
  const keys = useQuery({
    queryKey: ['api-keys', conference, cursor],
    queryFn: () =>
      dataOf(api.GET(PATH, { params: { path: { conference }, query: { cursor, limit: 25 } } })),
  })
  const close = () => setOpened(null)
  return (
    <section className="stack">
      <div className="page-head">
        <h2>API keys</h2>
        <Button onPress={() => setOpened({ what: 'new' })}>Create a key</Button>
      </div>
      <Loaded query={keys}>
        {(page) =>
          page.data.length === 0 ? (
            <Empty title="There are no keys. Programs, such as the ticket shop, need one." />
          ) : (
            <>
              <DataTable
                caption="API keys"
                rows={page.data}
                keyOf={({ id }) => id}
                columns={[
                  {
                    head: 'Key',
                    cell: ({ name, last4 }) => (
                      <span>
                        {name} <span className="muted code">…{last4}</span>
                      </span>
                    ),
                  },
                  {
                    head: 'May',
                    cell: mayDo,
                  },
                  { head: 'State', cell: (apiKey) => <KeyState apiKey={apiKey} /> },
                  {
                    head: 'Last used',
                    cell: ({ last_used_at: at }) => <LastUse at={at} />,
                  },
                  {
                    head: 'Actions',
                    cell: (apiKey) =>
                      stateOf(apiKey) === 'active' ? (
                        <span className="row">
                          <Button small onPress={() => setOpened({ what: 'rotate', apiKey })}>
                            Rotate<span className="visually-hidden"> {apiKey.name}</span>
                          </Button>
                          <Button
                            small
                            kind="danger"
                            onPress={() => setOpened({ what: 'revoke', apiKey })}
                          >
                            Revoke<span className="visually-hidden"> {apiKey.name}</span>
                          </Button>
                        </span>
                      ) : (
                        <span className="muted">–</span>
                      ),
                  },
                ]}
              />
              <Pager url={url} page={page} />
            </>
          )
        }
      </Loaded>
      {opened?.what === 'new' ? <KeyForm scope={scope} onClose={close} onMade={setMade} /> : null}
      {opened?.what === 'rotate' ? (
        <RotateKey
          conference={conference}
          apiKey={opened.apiKey}
          onClose={close}
          onMade={setMade}
        />
      ) : null}
      {opened?.what === 'revoke' ? (
        <RevokeKey conference={conference} apiKey={opened.apiKey} onClose={close} />
      ) : null}
      {made === null ? null : <NewKey apiKey={made} onClose={() => setMade(null)} />}
    </section>
  )
}

function stateOf({ revoked_at: revokedAt, expires_at: expiresAt }: ApiKey) {
  if (revokedAt !== null) return 'revoked'
  return expiresAt !== null && new Date(expiresAt).getTime() <= Date.now() ? 'expired' : 'active'
}

function KeyState({ apiKey }: { apiKey: ApiKey }) {
  const state = stateOf(apiKey)
  if (state === 'revoked') return <Badge tone="bad">Revoked</Badge>
  if (state === 'expired') return <Badge>Expired</Badge>
  if (apiKey.expires_at === null) return <Badge tone="good">Active</Badge>
  return (
    <span>
      <Badge tone={apiKey.rotated_to === null ? 'good' : 'warn'}>Active</Badge> until{' '}
      <When at={apiKey.expires_at} />
    </span>
  )
}

function KeyForm({
  scope,
  onClose,
  onMade,
}: {
  scope: ConsoleScope
  onClose: () => void
  onMade: (apiKey: ApiKey) => void
}) {
  const { conference } = scope
  const [name, setName] = useState('')
  const [grant, setGrant] = useState(NO_RIGHTS)
  const [expiry, setExpiry] = useState('')
  const create = useFormAction({
    run: (body: Schema<'CreateApiKey'>, key) =>
      dataOf(
        api.POST(PATH, {
          params: { path: { conference }, header: { 'Idempotency-Key': key } },
          body,
        }),
      ),
    changes: [['api-keys', conference]],
    onAnswer: onMade,
    onDone: onClose,
  })
  return (
    <FormDialog
      title="Create a key"
      action="Create"
      onSubmit={() =>
        create.mutate({
          name: name.trim(),
          ...grantOf(grant),
          ...(expiry === '' ? {} : { expires_at: fromTimeField(expiry) ?? '' }),
        })
      }
      onClose={onClose}
      busy={create.isPending}
      isDisabled={!isComplete(grant)}
      error={create.error}
      shown={['name', 'role', 'sponsor', 'expires_at']}
    >
      <TextField
        label="Name"
        name="name"
        isRequired
        autoFocus
        value={name}
        onChange={setName}
        error={create.error}
        hint="Which program uses it. The history shows it."
      />
      <GrantFields
        access={scope}
        label="For"
        roles={[
          { key: 'staff', label: 'A program of the conference' },
          { key: 'sponsor', label: 'A program of a sponsor' },
        ]}
        grant={grant}
        onChange={setGrant}
        error={create.error}
      />
      <TextField
        label="Expires"
        name="expires_at"
        type="datetime-local"
        value={expiry}
        onChange={setExpiry}
        error={create.error}
        hint="Empty: never."
      />
    </FormDialog>
  )
}

const HOUR = 3_600
const OVERLAPS = [
  { key: '0', label: 'Stops at once' },
  { key: String(HOUR), label: 'Works for another hour' },
  { key: String(24 * HOUR), label: 'Works for another day' },
  { key: String(7 * 24 * HOUR), label: 'Works for another week' },
]

function RotateKey({
  conference,
  apiKey,
  onClose,
  onMade,
}: {
  conference: string
  apiKey: ApiKey
  onClose: () => void
  onMade: (apiKey: ApiKey) => void
}) {
  const [overlap, setOverlap] = useState(String(24 * HOUR))
  const rotate = useFormAction({
    run: (seconds: number, key) =>
      dataOf(
        api.POST(`${PATH}/{id}/rotate`, {
          params: { path: { conference, id: apiKey.id }, header: { 'Idempotency-Key': key } },
          body: { overlap_seconds: seconds },
        }),
      ),
    changes: [['api-keys', conference]],
    onAnswer: onMade,
    onDone: onClose,
  })
  return (
    <FormDialog
      title={`Rotate ${apiKey.name}`}
      action="Rotate"
      onSubmit={() => rotate.mutate(Number(overlap))}
      onClose={onClose}
      busy={rotate.isPending}
      error={rotate.error}
      shown={[]}
    >
      <p>You get a new key with the same rights.</p>
      <SelectField label="The old key" value={overlap} onChange={setOverlap} options={OVERLAPS} />
    </FormDialog>
  )
}

function RevokeKey({
  conference,
  apiKey,
  onClose,
}: {
  conference: string
  apiKey: ApiKey
  onClose: () => void
}) {
  const revoke = useAction({
    // A repeat is a no-op.
    run: () =>
      dataOf(api.DELETE(`${PATH}/{id}`, { params: { path: { conference, id: apiKey.id } } })),
    changes: [['api-keys', conference]],
    done: `${apiKey.name} was revoked.`,
    onDone: onClose,
  })
  return (
    <Dialog title={`Revoke ${apiKey.name}?`} isOpen onClose={onClose}>
      <p>Programs with this key stop working at once. It cannot be undone.</p>
      <DialogButtons
        action="Revoke"
        danger
        onAction={() => revoke.mutate()}
        onClose={onClose}
        busy={revoke.isPending}
      />
    </Dialog>
  )
}

function NewKey({ apiKey, onClose }: { apiKey: ApiKey; onClose: () => void }) {
  return (
    <Dialog title={`The key ${apiKey.name}`} isOpen onClose={onClose}>
      <p className="note note-warn">Copy it now. It is not shown again.</p>
      <p className="code">{apiKey.key}</p>
      <CopyButton text={apiKey.key ?? ''} label="Copy the key" />
      <DialogButtons action="Done" onAction={onClose} onClose={onClose} busy={false} />
    </Dialog>
  )
}
