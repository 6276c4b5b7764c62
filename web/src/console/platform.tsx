import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link, useLocation, useSearchParams } from 'wouter'
import { useFormAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { Button } from '../ui/controls.tsx'
import { Badge, DataTable } from '../ui/data.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { TextField } from '../ui/form.tsx'
import { FormDialog } from '../ui/form-dialog.tsx'
import { Pager } from '../ui/list.tsx'
import { useListUrl } from '../ui/list-url.ts'
import { PageHead } from '../ui/shell.tsx'
import { Operators } from './operators.tsx'

type Conference = Schema<'Conference'>

/** For operators: every conference, and who else is an operator. */
export function Platform({ email }: { email: string | null }) {
  return (
    <>
      <Conferences />
      <Operators email={email} />
    </>
  )
}

function Conferences() {
  const url = useListUrl()
  const [search, setSearch] = useSearchParams()
  const { cursor } = url
  const conferences = useQuery({
    queryKey: ['conferences', cursor],
    queryFn: () => dataOf(api.GET('/v1/conferences', { params: { query: { limit: 25, cursor } } })),
  })
  const isNew = search.get('new') === 'conference'
  const open = (wanted: boolean) => setSearch(wanted ? { new: 'conference' } : {})
  return (
    <>
      <PageHead title="Conferences">
        <Button kind="primary" onPress={() => open(true)}>
          New conference
        </Button>
      </PageHead>
      <Loaded query={conferences}>
        {({ data, ...page }) =>
          data.length === 0 && cursor === undefined ? (
            <Empty title="There is no conference yet.">
              <p>A conference has its own sponsors, catalogue, staff and Stripe account.</p>
            </Empty>
          ) : (
            <>
              <DataTable
                caption="Conferences"
                rows={data}
                keyOf={({ id }) => id}
                columns={[
                  {
                    head: 'Name',
                    cell: ({ slug, name }) => <Link href={`/console/${slug}`}>{name}</Link>,
                  },
                  { head: 'Currency', cell: ({ currency }) => currency },
                  { head: 'Stripe', cell: (conference) => <StripeMode conference={conference} /> },
                  {
                    head: 'Actions',
                    cell: ({ slug, name }) => (
                      <Link href={`/console/${slug}/settings`}>
                        Settings<span className="visually-hidden"> of {name}</span>
                      </Link>
                    ),
                  },
                ]}
              />
              <Pager url={url} page={page} />
            </>
          )
        }
      </Loaded>
      {isNew ? <ConferenceForm onClose={() => open(false)} /> : null}
    </>
  )
}

function StripeMode({ conference: { livemode } }: { conference: Conference }) {
  if (livemode === null) return <Badge tone="warn">No key</Badge>
  return livemode ? <Badge tone="good">Live</Badge> : <Badge>Test</Badge>
}

/** `DevConf 2027` becomes `devconf-2027`. */
const slugOf = (name: string) =>
  name
    .normalize('NFKD')
    .replaceAll(/\p{M}/gu, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 63)

function ConferenceForm({ onClose }: { onClose: () => void }) {
  const [, navigate] = useLocation()
  const [name, setName] = useState('')
  const [slug, setSlug] = useState<string | null>(null)
  const [currency, setCurrency] = useState('EUR')
  const [key, setKey] = useState('')
  const create = useFormAction({
    run: (body: Schema<'CreateConference'>, idempotencyKey) =>
      dataOf(
        api.POST('/v1/conferences', {
          params: { header: { 'Idempotency-Key': idempotencyKey } },
          body,
        }),
      ),
    changes: [['conferences']],
    done: ({ name: made }) => `${made} is ready. Its settings say what is missing.`,
    onDone: (made) => navigate(`/console/${made.slug}/settings`),
  })
  const { error } = create
  return (
    <FormDialog
      title="New conference"
      action="Create"
      onSubmit={() =>
        create.mutate({
          name: name.trim(),
          slug: slug ?? slugOf(name),
          currency: currency.trim(),
          ...(key.trim() === '' ? {} : { stripe_secret_key: key.trim() }),
        })
      }
      onClose={onClose}
      busy={create.isPending}
      error={error}
      shown={['name', 'slug', 'currency', 'stripe_secret_key']}
    >
      <TextField
        label="Name"
        name="name"
        isRequired
        autoFocus
        value={name}
        onChange={setName}
        error={error}
      />
      <TextField
        label="Name in addresses"
        name="slug"
        isRequired
        value={slug ?? slugOf(name)}
        onChange={setSlug}
        error={error}
        hint={`${location.origin}/portal/${slug ?? slugOf(name)}. It cannot be changed later.`}
      />
      <TextField
        label="Currency"
        name="currency"
        isRequired
        value={currency}
        onChange={setCurrency}
        error={error}
        hint="ISO 4217, such as EUR. It cannot be changed later."
      />
      <TextField
        label="Stripe key (optional)"
        name="stripe_secret_key"
        type="password"
        autoComplete="off"
        value={key}
        onChange={setKey}
        error={error}
        hint="sk_… or rk_… of the account of the conference. It can be added later."
      />
    </FormDialog>
  )
}
