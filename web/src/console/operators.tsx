import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useAction, useFormAction } from '../api/actions.ts'
import { allPages } from '../api/all-pages.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { Button } from '../ui/controls.tsx'
import { DataTable, LastUse } from '../ui/data.tsx'
import { Dialog, DialogButtons } from '../ui/dialog.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { FormDialog } from '../ui/form-dialog.tsx'
import { NOBODY, PERSON_NAMES, PersonFields, personOf } from '../ui/person-fields.tsx'

type User = Schema<'User'>

const OPERATORS = ['operators'] as const

/** Who may use every conference. */
export function Operators({ email }: { email: string | null }) {
  const [isInviting, setInviting] = useState(false)
  const [removed, setRemoved] = useState<User | null>(null)
  const operators = useQuery({
    queryKey: OPERATORS,
    queryFn: () =>
      allPages((cursor) =>
        dataOf(api.GET('/v1/users', { params: { query: { limit: 100, cursor } } })),
      ),
  })
  return (
    <section className="stack">
      <div className="page-head">
        <h2>Operators</h2>
        <Button onPress={() => setInviting(true)}>Invite an operator</Button>
      </div>
      <Loaded query={operators} lines={2}>
        {(users) =>
          users.length === 0 ? (
            <Empty title="No person is an operator. Keys of programs still are." />
          ) : (
            <DataTable
              caption="Operators"
              rows={users}
              keyOf={({ id }) => id}
              columns={[
                {
                  head: 'Person',
                  cell: ({ name, email: address }) =>
                    name === null ? address : `${name} (${address})`,
                },
                {
                  head: 'Last here',
                  cell: ({ last_seen_at: at }) => <LastUse at={at} />,
                },
                {
                  head: 'Actions',
                  cell: (user) => (
                    <Button small kind="danger" onPress={() => setRemoved(user)}>
                      Remove<span className="visually-hidden"> {user.email}</span>
                    </Button>
                  ),
                },
              ]}
            />
          )
        }
      </Loaded>
      {isInviting ? <InviteOperator onClose={() => setInviting(false)} /> : null}
      {removed === null ? null : (
        <RemoveOperator
          user={removed}
          isSelf={removed.email === email}
          onClose={() => setRemoved(null)}
        />
      )}
    </section>
  )
}

function InviteOperator({ onClose }: { onClose: () => void }) {
  const [person, setPerson] = useState(NOBODY)
  const invite = useFormAction({
    run: (body: Schema<'InviteOperator'>, key) =>
      dataOf(api.POST('/v1/users', { params: { header: { 'Idempotency-Key': key } }, body })),
    changes: [OPERATORS],
    done: ({ email: invited }) => `${invited} was invited.`,
    onDone: onClose,
  })
  return (
    <FormDialog
      title="Invite an operator"
      action="Invite"
      onSubmit={() => invite.mutate(personOf(person))}
      onClose={onClose}
      busy={invite.isPending}
      error={invite.error}
      shown={PERSON_NAMES}
    >
      <p className="note note-warn">
        An operator may do everything in every conference, and change Stripe’s keys.
      </p>
      <PersonFields
        person={person}
        onChange={setPerson}
        error={invite.error}
        hint="The person signs in with a link that is sent to it."
      />
    </FormDialog>
  )
}

function RemoveOperator({
  user,
  isSelf,
  onClose,
}: {
  user: User
  isSelf: boolean
  onClose: () => void
}) {
  const remove = useAction({
    // A repeat is a no-op.
    run: () => dataOf(api.DELETE('/v1/users/{id}', { params: { path: { id: user.id } } })),
    changes: [OPERATORS, ['me']],
    done: `${user.email} was removed.`,
    onDone: onClose,
  })
  return (
    <Dialog title={`Remove ${user.email}?`} isOpen onClose={onClose}>
      <p>
        {isSelf
          ? 'This is you: you lose the access to every conference at once.'
          : 'The person loses the access to every conference, also where they are signed in now.'}
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
