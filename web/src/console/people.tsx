import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { useAction, useFormAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { Button } from '../ui/controls.tsx'
import { DataTable, LastUse } from '../ui/data.tsx'
import { Dialog, DialogButtons } from '../ui/dialog.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { TextField } from '../ui/form.tsx'
import { FormDialog } from '../ui/form-dialog.tsx'
import { Pager } from '../ui/list.tsx'
import { useListUrl } from '../ui/list-url.ts'
import { NOBODY, PERSON_NAMES, PersonFields, personOf } from '../ui/person-fields.tsx'
import { PageHead } from '../ui/shell.tsx'
import { ApiKeys } from './api-keys.tsx'
import { GrantFields, grantOf, isComplete, NO_RIGHTS, ScopeFields, useRights } from './rights.tsx'
import type { ConsoleScope } from './scope.ts'

type User = Schema<'User'>

/** Who may sign in, and the keys of programs. */
export function People({ scope }: { scope: ConsoleScope }) {
  const { conference } = scope
  const url = useListUrl('users')
  const { cursor } = url
  const [edited, setEdited] = useState<User | 'new' | null>(null)
  const [removed, setRemoved] = useState<User | null>(null)
  const mayDo = useRights(scope)
  const users = useQuery({
    queryKey: ['users', conference, cursor],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/users', {
          params: { path: { conference }, query: { cursor, limit: 25 } },
        }),
      ),
  })
  return (
    <>
      <PageHead title="Users and keys">
        <Link className="button" href="/audit-log">
          Audit log
        </Link>
        <Button kind="primary" onPress={() => setEdited('new')}>
          Invite a person
        </Button>
      </PageHead>
      <section className="stack">
        <h2>Users</h2>
        <Loaded query={users}>
          {(page) =>
            page.data.length === 0 ? (
              <Empty title="Nobody was invited yet." />
            ) : (
              <>
                <DataTable
                  caption="Users"
                  rows={page.data}
                  keyOf={({ id }) => id}
                  columns={[
                    {
                      head: 'Person',
                      cell: ({ name, email }) => (
                        <span>
                          {name === null ? null : (
                            <>
                              {name}
                              <br />
                            </>
                          )}
                          {email}
                        </span>
                      ),
                    },
                    {
                      head: 'May',
                      cell: mayDo,
                    },
                    {
                      head: 'Last here',
                      cell: ({ last_seen_at: at }) => <LastUse at={at} />,
                    },
                    {
                      head: 'Actions',
                      cell: (user) => (
                        <span className="row">
                          {user.role === 'staff' ? (
                            <Button small onPress={() => setEdited(user)}>
                              Change<span className="visually-hidden"> {user.email}</span>
                            </Button>
                          ) : null}
                          <Button small kind="danger" onPress={() => setRemoved(user)}>
                            Remove<span className="visually-hidden"> {user.email}</span>
                          </Button>
                        </span>
                      ),
                    },
                  ]}
                />
                <Pager url={url} page={page} />
              </>
            )
          }
        </Loaded>
      </section>
      <ApiKeys scope={scope} />
      {edited === 'new' ? <InviteForm scope={scope} onClose={() => setEdited(null)} /> : null}
      {edited === null || edited === 'new' ? null : (
        <UserForm scope={scope} user={edited} onClose={() => setEdited(null)} />
      )}
      {removed === null ? null : (
        <RemoveUser conference={conference} user={removed} onClose={() => setRemoved(null)} />
      )}
    </>
  )
}

function InviteForm({ scope, onClose }: { scope: ConsoleScope; onClose: () => void }) {
  const { conference } = scope
  const [person, setPerson] = useState(NOBODY)
  const [grant, setGrant] = useState(NO_RIGHTS)
  const invite = useFormAction({
    run: (body: Schema<'InviteUser'>, key) =>
      dataOf(
        api.POST('/v1/conferences/{conference}/users', {
          params: { path: { conference }, header: { 'Idempotency-Key': key } },
          body,
        }),
      ),
    changes: [['users', conference]],
    done: ({ email: invited }) => `${invited} was invited.`,
    onDone: onClose,
  })
  return (
    <FormDialog
      title="Invite a person"
      action="Invite"
      onSubmit={() => invite.mutate({ ...personOf(person), ...grantOf(grant) })}
      onClose={onClose}
      busy={invite.isPending}
      isDisabled={!isComplete(grant)}
      error={invite.error}
      shown={[...PERSON_NAMES, 'role', 'sponsor']}
    >
      <PersonFields
        person={person}
        onChange={setPerson}
        error={invite.error}
        hint="The person signs in with a link that is sent to it."
      />
      <GrantFields
        access={scope}
        label="Role"
        roles={[
          { key: 'staff', label: 'Staff', hint: 'Works in this console.' },
          { key: 'sponsor', label: 'Member of a sponsor', hint: 'Buys in the portal.' },
        ]}
        grant={grant}
        onChange={setGrant}
        error={invite.error}
      />
    </FormDialog>
  )
}

function UserForm({
  scope,
  user,
  onClose,
}: {
  scope: ConsoleScope
  user: User
  onClose: () => void
}) {
  const { conference } = scope
  const [name, setName] = useState(user.name ?? '')
  const [scopes, setScopes] = useState<Schema<'Scope'>[]>(user.scopes)
  const save = useFormAction({
    run: (body: Schema<'ChangeUser'>, key) =>
      dataOf(
        api.PATCH('/v1/conferences/{conference}/users/{id}', {
          params: { path: { conference, id: user.id }, header: { 'Idempotency-Key': key } },
          body,
        }),
      ),
    changes: [['users', conference], ['me']],
    done: `${user.email} was changed. It counts from now on.`,
    onDone: onClose,
  })
  return (
    <FormDialog
      title={user.email}
      action="Save"
      onSubmit={() => save.mutate({ name: name.trim() === '' ? null : name.trim(), scopes })}
      onClose={onClose}
      busy={save.isPending}
      error={save.error}
      shown={['name']}
    >
      <TextField label="Name" name="name" value={name} onChange={setName} error={save.error} />
      <ScopeFields access={scope} value={scopes} onChange={setScopes} />
    </FormDialog>
  )
}

function RemoveUser({
  conference,
  user,
  onClose,
}: {
  conference: string
  user: User
  onClose: () => void
}) {
  const remove = useAction({
    // A repeat is a no-op.
    run: () =>
      dataOf(
        api.DELETE('/v1/conferences/{conference}/users/{id}', {
          params: { path: { conference, id: user.id } },
        }),
      ),
    changes: [['users', conference]],
    done: `${user.email} was removed.`,
    onDone: onClose,
  })
  return (
    <Dialog title={`Remove ${user.email}?`} isOpen onClose={onClose}>
      <p>
        The person can no longer use this conference, also where they are signed in now. The history
        keeps their name.
      </p>
      <DialogButtons
        action="Remove"
        danger
        onAction={() => remove.mutate()}
        onClose={onClose}
        busy={remove.isPending}
      />
    </Dialog>
  )
}
