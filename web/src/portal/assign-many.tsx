import { useState } from 'react'
import { useAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { Badge, DataTable } from '../ui/data.tsx'
import { Dialog, DialogButtons } from '../ui/dialog.tsx'
import { Failure } from '../ui/feedback.tsx'
import { CheckboxField, TextField } from '../ui/form.tsx'
import { plural } from '../ui/format.ts'
import { toast } from '../ui/toasts.tsx'
import type { CodesOf, PortalScope } from './scope.ts'

type Upload = Schema<'AssignmentUpload'>
type Choice = { text: string; send: boolean; replace: boolean }

/** A first line with a cell `email`; an address such as `ada@freemail.example` is none. */
const HEADER = /^([^\n]*[,;\t])?\s*"?email"?\s*([,;\t\r\n]|$)/i

/** People who paste addresses from a mail program or a spreadsheet have no header line. */
function withHeader(text: string): string {
  if (HEADER.test(text)) return text
  const [separator] = /\t/.exec(text) ?? /[,;]/.exec(text) ?? []
  return `${separator === undefined ? 'email' : `email${separator}name`}\n${text}`
}

/** @throws Error with a sentence for people, because spreadsheets also write other files. */
async function textOfFile(file: File): Promise<string> {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await file.arrayBuffer())
  } catch (error) {
    throw new Error(`${file.name} is not text in UTF-8. Save it as “CSV UTF-8”.`, { cause: error })
  }
}

function upload(
  conference: string,
  of: CodesOf,
  { text, send, replace }: Choice,
  dryRun: boolean,
  idempotencyKey: string,
): Promise<Upload> {
  const options = {
    body: withHeader(text),
    bodySerializer: (body: string) => body,
    headers: { 'content-type': 'text/csv' },
  }
  const query = { dry_run: dryRun, send, replace }
  // A dry run changes nothing, so it needs no key.
  const header = dryRun ? {} : { 'Idempotency-Key': idempotencyKey }
  return of.kind === 'purchase'
    ? dataOf(
        api.POST('/v1/conferences/{conference}/purchases/{purchase}/assignments', {
          params: { path: { conference, purchase: of.id }, query, header },
          ...options,
        }),
      )
    : dataOf(
        api.POST('/v1/conferences/{conference}/voucher-batches/{batch}/assignments', {
          params: { path: { conference, batch: of.id }, query, header },
          ...options,
        }),
      )
}

/** Gives codes to the persons of a list: pasted or from a file, with a preview first. */
export function AssignManyDialog({
  scope: { conference },
  of,
  onClose,
}: {
  scope: PortalScope
  of: CodesOf
  onClose: () => void
}) {
  const [text, setText] = useState('')
  const [send, setSend] = useState(true)
  const [replace, setReplace] = useState(false)
  const choice = { text, send, replace }
  const preview = useAction({
    run: (input: Choice, key) => upload(conference, of, input, true, key),
    shows: 'errors',
  })
  const assign = useAction({
    run: (input: Choice, key) => upload(conference, of, input, false, key),
    changes: [['vouchers', conference]],
    done: ({ assigned, replaced }) => `${plural(assigned + replaced, 'code')} assigned.`,
    shows: 'errors',
    onDone: onClose,
  })
  const checked = preview.data
  const change = (next: Partial<Choice>) => {
    preview.reset()
    assign.reset()
    if (next.text !== undefined) setText(next.text)
    if (next.send !== undefined) setSend(next.send)
    if (next.replace !== undefined) setReplace(next.replace)
  }
  const error = preview.error ?? assign.error
  const isReady = checked !== undefined && checked.errors.length === 0
  return (
    <Dialog title="Assign codes to a list of people" isOpen onClose={onClose} wide>
      <p>
        One person a line: <code>email,name</code>. Everybody gets the next free code. With a column{' '}
        <code>code</code>, as in the downloaded CSV, each person gets that code.
      </p>
      <label className="file">
        <span>Choose a CSV file</span>
        <input
          type="file"
          accept=".csv,text/csv,text/plain"
          onChange={(event) => {
            const [file] = event.target.files ?? []
            if (file === undefined) return
            textOfFile(file).then(
              (content) => change({ text: content }),
              (problem: Error) => toast({ text: problem.message, kind: 'error' }),
            )
          }}
        />
      </label>
      <TextField
        label="Or paste the list"
        lines={6}
        value={text}
        onChange={(value) => change({ text: value })}
        placeholder={'ada@example.org,Ada Lovelace\ngrace@example.org,Grace Hopper'}
      />
      <CheckboxField
        label="Send the codes to these people by mail"
        value={send}
        onChange={(value) => change({ send: value })}
      />
      <CheckboxField
        label="Lines with a code may replace the person who has it"
        value={replace}
        onChange={(value) => change({ replace: value })}
      />
      {error === null ? null : (
        <>
          <Failure error={error} />
          <ul className="plain-list">
            {error.errors.slice(0, MAX_LINES).map(({ pointer, detail }) => (
              <li key={`${pointer} ${detail}`}>
                {pointer.replaceAll('/', ' ')} {detail}
              </li>
            ))}
          </ul>
        </>
      )}
      {checked === undefined ? null : <Preview of={checked} text={text} />}
      <DialogButtons
        action={isReady ? actionOf(checked, send) : 'Check the list'}
        busy={preview.isPending || assign.isPending}
        isDisabled={text.trim() === '' || (isReady && checked.data.length === 0)}
        onAction={() => (isReady ? assign.mutate(choice) : preview.mutate(choice))}
        onClose={onClose}
      />
    </Dialog>
  )
}

const actionOf = ({ assigned, replaced, updated, unchanged }: Upload, send: boolean) =>
  assigned + replaced + updated === 0
    ? `Keep ${plural(unchanged, 'code')}`
    : `Assign ${plural(assigned + replaced + updated, 'code')}${send ? ' and send' : ''}`

const OUTCOMES: Record<Upload['data'][number]['outcome'], string> = {
  assigned: 'gets a code',
  replaced: 'gets the code of another person',
  updated: 'gets a new name',
  unchanged: 'has the code already',
}

/** Above that, a table is no help. */
const MAX_LINES = 200

function Preview({ of: { errors, data, skipped }, text }: { of: Upload; text: string }) {
  const lines = text.split('\n')
  // The service counts from the header.
  const headers = HEADER.test(text) ? 0 : 1
  if (errors.length > 0) {
    return (
      <div className="stack" role="alert">
        <p className="note note-warn">
          {plural(errors.length, 'line')} must be corrected. Nothing is assigned until all are
          right.
        </p>
        <DataTable
          caption="Lines with errors"
          rows={errors.slice(0, MAX_LINES)}
          keyOf={({ line, column, detail }) => `${line} ${column} ${detail}`}
          columns={[
            { head: 'Line', cell: ({ line }) => line - headers },
            { head: 'Text', cell: ({ line }) => lines[line - headers - 1] ?? '' },
            {
              head: 'Problem',
              cell: ({ column, detail }) => (column === null ? detail : `${column} ${detail}`),
            },
          ]}
        />
      </div>
    )
  }
  return (
    <div className="stack" role="status">
      <p>
        The list is right: {plural(data.length, 'person', 'people')}.
        {skipped === 0
          ? ''
          : ` ${plural(skipped, 'line')} without a person ${skipped === 1 ? 'is' : 'are'} left out.`}
      </p>
      <DataTable
        caption="What each person gets"
        rows={data.slice(0, MAX_LINES)}
        keyOf={({ line }) => String(line)}
        columns={[
          {
            head: 'Person',
            cell: ({ email, name }) => (name === null ? email : `${name} (${email})`),
          },
          { head: 'Code', cell: ({ code }) => <code>{code}</code> },
          {
            head: 'Result',
            cell: ({ outcome }) => (
              <Badge tone={outcome === 'unchanged' ? 'neutral' : 'good'}>{OUTCOMES[outcome]}</Badge>
            ),
          },
        ]}
      />
    </div>
  )
}
