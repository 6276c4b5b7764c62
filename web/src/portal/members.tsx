import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useAction, useFormAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { Button } from '../ui/controls.tsx'
import { Badge, DataTable, LastUse, When } from '../ui/data.tsx'
import { Dialog, DialogButtons } from '../ui/dialog.tsx'
import { Loaded } from '../ui/feedback.tsx'
import { FormDialog } from '../ui/form-dialog.tsx'
import { Pager } from '../ui/list.tsx'
import { useListUrl } from '../ui/list-url.ts'
import { NOBODY, PERSON_NAMES, PersonFields, personOf } from '../ui/person-fields.tsx'
import { PageHead } from '../ui/shell.tsx'
import type { PortalScope } from './scope.ts'

type User = Schema<'User'>
type Session = Schema<'Session'>

/** The colleagues who may buy and see the codes, and where I am signed in. */
export function Members({ scope, email }: { scope: PortalScope; email: string | null }) {
  const [isInviting, setInviting] = useState(false)
  return (
    <>
      <PageHead title="People">
        <Button kind="primary" onPress={() => setInviting(true)}>
          Invite a colleague
        </Button>
      </PageHead>
      <Colleagues scope={scope} ownEmail={email} />
      <Sessions />
      {isInviting ? <InviteDialog scope={scope} onClose={() => setInviting(false)} /> : null}
    </>
  )
}

function Colleagues({ scope, ownEmail }: { scope: PortalScope; ownEmail: string | null }) {
  const { conference } = scope
  const url = useListUrl()
  const { cursor } = url
  const [removing, setRemoving] = useState<User | null>(null)
  const users = useQuery({
    queryKey: ['users', conference, cursor ?? ''],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/users', {
          params: { path: { conference }, query: { limit: 50, cursor } },
        }),
      ),
  })
  return (
    <section className="stack">
      <h2>Who works with the codes of {scope.sponsorName}</h2>
      <p className="muted">Everybody here can buy codes, see them all, and give them to people.</p>
      <Loaded query={users}>
        {({ data, ...page }) => (
          <>
            <DataTable
              caption="Colleagues"
              rows={data}
              keyOf={({ id }) => id}
              columns={[
                {
                  head: 'Person',
                  cell: ({ name, email }) => (
                    <span>
                      {name ?? email} {email === ownEmail ? <Badge>You</Badge> : null}
                      {name === null ? null : <span className="hint block">{email}</span>}
                    </span>
                  ),
                },
                {
                  head: 'Last here',
                  cell: ({ email, last_seen_at: at }) =>
                    email === ownEmail ? 'Now' : <LastUse at={at} />,
                },
                {
                  head: 'Change',
                  cell: (user) =>
                    user.email === ownEmail ? (
                      <span className="muted">–</span>
                    ) : (
                      <Button
                        small
                        aria-label={`Remove ${user.name ?? user.email}`}
                        onPress={() => setRemoving(user)}
                      >
                        Remove
                      </Button>
                    ),
                },
              ]}
            />
            <Pager url={url} page={page} />
          </>
        )}
      </Loaded>
      {removing === null ? null : (
        <RemoveDialog scope={scope} user={removing} onClose={() => setRemoving(null)} />
      )}
    </section>
  )
}

function InviteDialog({
  scope: { conference, sponsorName },
  onClose,
}: {
  scope: PortalScope
  onClose: () => void
}) {
  const [person, setPerson] = useState(NOBODY)
  const invite = useFormAction({
    run: (body: Schema<'InviteUser'>, key) =>
      dataOf(
        api.POST('/v1/conferences/{conference}/users', {
          params: { path: { conference }, header: { 'Idempotency-Key': key } },
          body,
        }),
      ),
    changes: [['users', conference]],
    done: ({ email }) => `A mail is on its way to ${email}.`,
    onDone: onClose,
  })
  return (
    <FormDialog
      title="Invite a colleague"
      action="Invite"
      onSubmit={() => invite.mutate({ ...personOf(person), role: 'sponsor' })}
      onClose={onClose}
      busy={invite.isPending}
      error={invite.error}
      shown={PERSON_NAMES}
    >
      <p>
        Your colleague signs in with a mailed link and can do everything that you can do for{' '}
        {sponsorName}.
      </p>
      <PersonFields person={person} onChange={setPerson} error={invite.error} />
    </FormDialog>
  )
}

function RemoveDialog({
  scope: { conference },
  user,
  onClose,
}: {
  scope: PortalScope
  user: User
  onClose: () => void
}) {
  const remove = useAction({
    run: () =>
      api.DELETE('/v1/conferences/{conference}/users/{id}', {
        params: { path: { conference, id: user.id } },
      }),
    changes: [['users', conference]],
    done: `${user.name ?? user.email} is removed.`,
    onDone: onClose,
  })
  return (
    <Dialog title={`Remove ${user.name ?? user.email}?`} isOpen onClose={onClose}>
      <p>This person can no longer sign in here. Purchases and codes stay as they are.</p>
      <DialogButtons
        action="Remove"
        danger
        busy={remove.isPending}
        onAction={() => remove.mutate()}
        onClose={onClose}
      />
    </Dialog>
  )
}

function Sessions() {
  const sessions = useQuery({
    queryKey: ['sessions'],
    queryFn: () => dataOf(api.GET('/v1/sessions')),
  })
  return (
    <section className="stack">
      <h2>Where you are signed in</h2>
      <Loaded query={sessions} lines={2}>
        {({ data }) => (
          <DataTable
            caption="Your sessions"
            rows={data}
            keyOf={({ id }) => id}
            columns={[
              {
                head: 'Browser',
                cell: ({ user_agent: agent, current }) => (
                  <span>
                    {browserOf(agent)} {current ? <Badge tone="good">Here</Badge> : null}
                  </span>
                ),
              },
              { head: 'Last used', cell: ({ last_seen_at: at }) => <When at={at} ago /> },
              { head: 'Ends', cell: ({ expires_at: at }) => <When at={at} /> },
              { head: 'Change', cell: (session) => <EndSession session={session} /> },
            ]}
          />
        )}
      </Loaded>
    </section>
  )
}

function EndSession({ session: { id, current } }: { session: Session }) {
  const end = useAction({
    run: () => api.DELETE('/v1/sessions/{id}', { params: { path: { id } } }),
    changes: [['sessions']],
    done: 'Signed out there.',
  })
  if (current) return <span className="muted">–</span>
  return (
    <Button small busy={end.isPending} onPress={() => end.mutate()}>
      Sign out there
    </Button>
  )
}

const BROWSERS = [
  ['Edg/', 'Edge'],
  ['OPR/', 'Opera'],
  ['Firefox/', 'Firefox'],
  ['Chrome/', 'Chrome'],
  ['Safari/', 'Safari'],
] as const
const SYSTEMS = [
  ['Android', 'Android'],
  ['iPhone', 'iPhone'],
  ['iPad', 'iPad'],
  ['Windows', 'Windows'],
  ['Mac OS X', 'macOS'],
  ['Linux', 'Linux'],
] as const

/** `Firefox on Windows`; the order matters, because each browser also names others. */
function browserOf(agent: string | null): string {
  const find = (known: readonly (readonly [string, string])[]) =>
    known.find(([mark]) => agent?.includes(mark))?.[1]
  const browser = find(BROWSERS)
  const system = find(SYSTEMS)
  if (browser === undefined) return 'Another program'
  return system === undefined ? browser : `${browser} on ${system}`
}
