import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useAction } from '../api/actions.ts'
import { AS_CSV, api, dataOf, type Schema, textOf } from '../api/client.ts'
import { saveFile } from '../api/download.ts'
import { SelectField } from '../ui/choices.tsx'
import { copyText } from '../ui/clipboard.ts'
import { Button } from '../ui/controls.tsx'
import { Badge, CopyButton, DataTable } from '../ui/data.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { plural } from '../ui/format.ts'
import { Pager, SearchBox } from '../ui/list.tsx'
import { useListUrl } from '../ui/list-url.ts'
import { AssignManyDialog } from './assign-many.tsx'
import { AssignDialog, TakeBackDialog } from './assign-one.tsx'
import type { CodesOf, PortalScope } from './scope.ts'
import { voucherWord } from './words.ts'

type Voucher = Schema<'Voucher'>

/** Above that, copying is of no use: the file is. */
const MAX_COPIED = 5_000

const PAGE = 50

const SHOWN = [
  { key: 'all', label: 'All codes' },
  { key: 'false', label: 'Not used' },
  { key: 'true', label: 'Used' },
]

/** The codes: which are used, who has them, copy and download. */
export function Codes({ scope, of, issued }: { scope: PortalScope; of: CodesOf; issued: number }) {
  const { conference } = scope
  const url = useListUrl()
  const [isUploading, setUploading] = useState(false)
  const { cursor } = url
  const text = url.get('q') ?? ''
  const used = url.get('used')
  const vouchers = useQuery({
    queryKey: ['vouchers', conference, of.id, text, used ?? '', cursor ?? ''],
    queryFn: () => fetchCodes(conference, of, { text, used }, cursor),
    refetchInterval: 5_000,
    placeholderData: (before) => before,
  })
  const file = () => downloadOf(conference, of)
  const copyAll = useAction({
    run: async () => {
      const codes = file().then(codesIn)
      await copyText(codes.then((all) => all.join('\n')))
      return (await codes).length
    },
    done: (count) => `${plural(count, 'code is', 'codes are')} copied.`,
  })
  const download = useAction({
    run: async () =>
      saveFile(new Blob([await file()], { type: 'text/csv' }), `vouchers-${of.id}.csv`),
  })
  return (
    <>
      <div className="row row-apart row-end">
        {issued > 10 ? (
          <div className="row row-end">
            <SearchBox
              label="Find a code or a person"
              value={url.get('q')}
              onSearch={(found) => url.set('q', found)}
            />
            <SelectField
              label="Show"
              value={used ?? 'all'}
              onChange={(key) => url.set('used', key === 'all' ? undefined : key)}
              options={SHOWN}
            />
          </div>
        ) : (
          <span />
        )}
        <div className="row">
          <Button onPress={() => setUploading(true)}>Assign a list</Button>
          {issued > MAX_COPIED ? null : (
            <Button busy={copyAll.isPending} onPress={() => copyAll.mutate()}>
              Copy all
            </Button>
          )}
          <Button busy={download.isPending} onPress={() => download.mutate()}>
            Download CSV
          </Button>
        </div>
      </div>
      <Loaded query={vouchers}>
        {({ data, ...page }) =>
          data.length === 0 ? (
            <Empty
              title={
                text === '' && used === undefined
                  ? 'There are no codes.'
                  : 'No code matches. Show all codes, or search for something else.'
              }
            />
          ) : (
            <>
              <CodeTable scope={scope} rows={data} />
              <Pager url={url} page={page} />
            </>
          )
        }
      </Loaded>
      {isUploading ? (
        <AssignManyDialog scope={scope} of={of} onClose={() => setUploading(false)} />
      ) : null}
    </>
  )
}

function fetchCodes(
  conference: string,
  of: CodesOf,
  { text, used }: { text: string; used: string | undefined },
  cursor: string | undefined,
) {
  const page = { limit: PAGE, cursor }
  if (text !== '' || used !== undefined) {
    const filter = {
      [of.kind]: of.id,
      ...(text === '' ? {} : { q: text }),
      ...(used === undefined ? {} : { used: used === 'true' }),
    }
    return dataOf(
      api.GET('/v1/conferences/{conference}/vouchers', {
        params: { path: { conference }, query: { ...page, ...filter } },
      }),
    )
  }
  return of.kind === 'purchase'
    ? dataOf(
        api.GET('/v1/conferences/{conference}/purchases/{purchase}/vouchers', {
          params: { path: { conference, purchase: of.id }, query: page },
        }),
      )
    : dataOf(
        api.GET('/v1/conferences/{conference}/voucher-batches/{batch}/vouchers', {
          params: { path: { conference, batch: of.id }, query: page },
        }),
      )
}

/** The export of the API. */
function downloadOf(conference: string, { kind, id }: CodesOf): Promise<string> {
  return kind === 'purchase'
    ? textOf(
        api.GET('/v1/conferences/{conference}/purchases/{purchase}/vouchers', {
          params: { path: { conference, purchase: id }, query: { include: 'assignment' } },
          ...AS_CSV,
        }),
      )
    : textOf(
        api.GET('/v1/conferences/{conference}/voucher-batches/{batch}/vouchers', {
          params: { path: { conference, batch: id }, query: { include: 'assignment' } },
          ...AS_CSV,
        }),
      )
}

/** The first column of the export; a code contains neither commas nor quotes. */
const codesIn = (csv: string) =>
  csv
    .split('\n')
    .slice(1)
    .flatMap((line) => line.split(',')[0] || [])

/** A used, deactivated or expired code can get no other person. */
const isFree = ({ invalid_reason: reason, times_used: used }: Voucher) =>
  used === 0 && (reason === null || reason === 'not_yet_valid')

function CodeTable({ scope, rows }: { scope: PortalScope; rows: readonly Voucher[] }) {
  const [assigning, setAssigning] = useState<Voucher | null>(null)
  const [takingBack, setTakingBack] = useState<Voucher | null>(null)
  return (
    <>
      <DataTable
        caption="Codes, in the order of issue"
        rows={rows}
        keyOf={({ code }) => code}
        columns={[
          {
            head: 'Code',
            cell: ({ code }) => (
              <span className="row">
                <code>{code}</code>
                <CopyButton text={code} label="Copy" />
              </span>
            ),
          },
          {
            head: 'State',
            cell: (voucher) => {
              const { word, tone } = voucherWord(voucher)
              return <Badge tone={tone}>{word}</Badge>
            },
          },
          { head: 'For', cell: ({ assigned_to: person }) => <Person person={person} /> },
          {
            head: 'Change',
            cell: (voucher) =>
              isFree(voucher) ? (
                <PersonActions
                  scope={scope}
                  voucher={voucher}
                  onAssign={() => setAssigning(voucher)}
                  onTakeBack={() => setTakingBack(voucher)}
                />
              ) : (
                <span className="muted">–</span>
              ),
          },
        ]}
      />
      {assigning === null ? null : (
        <AssignDialog scope={scope} voucher={assigning} onClose={() => setAssigning(null)} />
      )}
      {takingBack === null ? null : (
        <TakeBackDialog scope={scope} voucher={takingBack} onClose={() => setTakingBack(null)} />
      )}
    </>
  )
}

function Person({ person }: { person: Voucher['assigned_to'] }) {
  if (person === null) return <span className="muted">Nobody yet</span>
  return (
    <span>
      {person.name === null ? person.email : person.name}
      <span className="hint block">
        {person.name === null ? '' : `${person.email} · `}
        {person.sent_at === null ? 'not sent' : 'sent'}
      </span>
    </span>
  )
}

function PersonActions({
  scope: { conference },
  voucher: { code, assigned_to: person },
  onAssign,
  onTakeBack,
}: {
  scope: PortalScope
  voucher: Voucher
  onAssign: () => void
  onTakeBack: () => void
}) {
  const send = useAction({
    run: (_input: undefined, idempotencyKey) =>
      api.POST('/v1/conferences/{conference}/vouchers/{code}/assignment/send', {
        params: { path: { conference, code }, header: { 'Idempotency-Key': idempotencyKey } },
        body: {},
      }),
    changes: [['vouchers', conference]],
    done: `The code is on its way to ${person?.email ?? ''}.`,
  })
  if (person === null) {
    return (
      <Button small onPress={onAssign} aria-label={`Assign ${code}`}>
        Assign
      </Button>
    )
  }
  return (
    <span className="row">
      <Button small busy={send.isPending} onPress={() => send.mutate(undefined)}>
        {person.sent_at === null ? 'Send' : 'Send again'}
      </Button>
      <Button small onPress={onAssign}>
        Change
      </Button>
      <Button small kind="quiet" onPress={onTakeBack}>
        Take back
      </Button>
    </span>
  )
}
