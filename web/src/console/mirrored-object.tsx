import { useQuery } from '@tanstack/react-query'
import { Fragment } from 'react'
import { Link } from 'wouter'
import { type ApiError, api, dataOf, type Schema } from '../api/client.ts'
import { Badge, CopyButton, When } from '../ui/data.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { PageHead } from '../ui/shell.tsx'
import { purchasesKey } from './purchase-data.ts'
import type { ConsoleScope } from './scope.ts'
import { StripeId } from './stripe-id.tsx'
import {
  dashboardLink,
  isResource,
  nameOfMany,
  nameOfOne,
  type Resource,
  relatedIds,
  STRIPE_ID,
  summaryOf,
} from './stripe-objects.ts'
import { SyncButton } from './sync-runs.tsx'

type StripeObject = Schema<'StripeObjectBase'>

/** `/stripe/{resource}/{id}`: one object of Stripe as the mirror has it. */
export function MirroredObject({
  scope,
  resource,
  id,
}: {
  scope: ConsoleScope
  resource: string
  id: string
}) {
  if (!isResource(resource)) return <Empty title="This page does not exist." />
  return <ObjectPage scope={scope} resource={resource} id={id} />
}

function ObjectPage({
  scope,
  resource,
  id,
}: {
  scope: ConsoleScope
  resource: Resource
  id: string
}) {
  const { conference, dashboard } = scope
  const object = useQuery({
    queryKey: ['mirror', conference, resource, 'one', id],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/stripe/{resource}/{id}', {
          params: { path: { conference, resource, id } },
        }),
      ),
    // A sync or an event may bring it, or another version.
    refetchInterval: 5_000,
  })
  const isMissing = (object.error as ApiError | null)?.status === 404
  return (
    <>
      <PageHead title={nameOfOne(resource)}>
        <Link className="button" href={`/stripe?resource=${resource}`}>
          All {nameOfMany(resource).toLowerCase()}
        </Link>
        <SyncButton scope={scope} resource={resource} ids={[id]}>
          Refresh from Stripe
        </SyncButton>
        {dashboard === null ? null : (
          <a
            className="button"
            href={dashboardLink(dashboard, resource, id)}
            target="_blank"
            rel="noreferrer"
          >
            Stripe’s dashboard
          </a>
        )}
      </PageHead>
      {isMissing ? (
        <Empty title="The mirror does not have it.">
          <p>
            <code>{id}</code> was never fetched, or does not belong to this conference.
          </p>
        </Empty>
      ) : (
        <Loaded query={object}>{(found) => <Details scope={scope} object={found} />}</Loaded>
      )}
    </>
  )
}

type ObjectProps = { scope: ConsoleScope; object: StripeObject }

function Details({ scope, object }: ObjectProps) {
  const { id, data } = object
  const summary = summaryOf(object)
  return (
    <>
      <div className="grid">
        <section className="card stack">
          <h2>Object</h2>
          <dl className="facts">
            <dt>Stripe id</dt>
            <dd className="row">
              <code>{id}</code>
              <CopyButton text={id} />
            </dd>
            {summary === '' ? null : (
              <>
                <dt>In short</dt>
                <dd>{summary}</dd>
              </>
            )}
            <dt>Created</dt>
            <dd>
              <When at={object.created} />
            </dd>
            <dt>As of</dt>
            <dd>
              <When at={object.as_of} ago />
            </dd>
            {object.deleted_at === null ? null : (
              <>
                <dt>Deleted</dt>
                <dd>
                  <Badge tone="bad">Deleted at Stripe</Badge> found <When at={object.deleted_at} />
                </dd>
              </>
            )}
            <dt>Mode</dt>
            <dd>{object.livemode === true ? 'Live: real money' : 'Test: no real money'}</dd>
          </dl>
        </section>
        <Related scope={scope} object={object} />
      </div>
      <section className="card stack">
        <div className="row row-apart">
          <h2>As Stripe sends it</h2>
          <CopyButton text={JSON.stringify(data, null, 2)} label="Copy the JSON" />
        </div>
        <Json scope={scope} value={data} own={id} />
      </section>
    </>
  )
}

/** The purchase that the metadata name, and the objects whose ids are in this one. */
function Related({ scope, object: { id, metadata, data } }: ObjectProps) {
  const purchase = purchaseIn(metadata)
  const related = relatedIds(data, id)
  return (
    <section className="card stack">
      <h2>Belongs to</h2>
      {purchase === null && related.length === 0 ? (
        <p className="muted">It names no other object.</p>
      ) : (
        <dl className="facts">
          {purchase === null ? null : (
            <>
              <dt>Purchase</dt>
              <dd>
                <PurchaseLink scope={scope} id={purchase} />
              </dd>
            </>
          )}
          {related.map(({ field, id: other }) => (
            <Fragment key={other}>
              <dt>{sentenceCase(field)}</dt>
              <dd>
                <StripeId scope={scope} id={other} />
              </dd>
            </Fragment>
          ))}
        </dl>
      )}
    </section>
  )
}

const sentenceCase = (field: string) =>
  field.replaceAll('_', ' ').replace(/^\w/, (first) => first.toUpperCase())

/** By its name, for those who may see it. */
function PurchaseLink({ scope: { conference, may }, id }: { scope: ConsoleScope; id: string }) {
  const { data } = useQuery({
    queryKey: [...purchasesKey(conference), id],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/purchases/{purchase}', {
          params: { path: { conference, purchase: id } },
        }),
      ),
    enabled: may('purchases:read'),
    retry: false,
  })
  const name = data === undefined ? id : `${data.sponsor_name ?? 'Nobody'}: ${data.description}`
  return <Link href={`/purchases/${encodeURIComponent(id)}`}>{name}</Link>
}

function purchaseIn(metadata: unknown): string | null {
  if (typeof metadata !== 'object' || metadata === null) return null
  const { purchase_id: id } = metadata as { purchase_id?: unknown }
  return typeof id === 'string' ? id : null
}

/** JSON in which the ids of other objects are links. */
function Json({ scope, value, own }: { scope: ConsoleScope; value: unknown; own: string }) {
  const text = JSON.stringify(value, null, 2)
  const parts: (string | { id: string; at: number })[] = []
  let end = 0
  for (const match of text.matchAll(STRIPE_ID)) {
    const [id] = match
    // Only whole texts: a URL may contain an id.
    const isWhole = text[match.index - 1] === '"' && text[match.index + id.length] === '"'
    if (id === own || !isWhole) continue
    parts.push(text.slice(end, match.index), { id, at: match.index })
    end = match.index + id.length
  }
  parts.push(text.slice(end))
  return (
    // Long texts scroll, so the keyboard must reach it.
    // biome-ignore lint/a11y/noNoninteractiveTabindex: see above.
    <pre className="json" tabIndex={0}>
      {parts.map((part) =>
        typeof part === 'string' ? part : <StripeId key={part.at} scope={scope} id={part.id} />,
      )}
    </pre>
  )
}
