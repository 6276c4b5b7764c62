import { useState } from 'react'
import { useFormAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { NumberField, SelectField } from '../ui/choices.tsx'
import { CopyButton } from '../ui/data.tsx'
import { Dialog, DialogButtons } from '../ui/dialog.tsx'
import { FormDialog } from '../ui/form-dialog.tsx'
import { plural } from '../ui/format.ts'
import { useAddOns, useTicketTypes } from './names.ts'
import type { ConsoleScope } from './scope.ts'

const ANY = 'any'

/** How many codes the dialog shows to copy; more are downloaded. */
const SHOWN_CODES = 100

/** Gives a sponsor free codes without a purchase, and shows them. */
export function IssueCodes({
  scope,
  sponsor,
  onClose,
}: {
  scope: ConsoleScope
  sponsor: Schema<'Sponsor'>
  onClose: () => void
}) {
  const { conference } = scope
  const [count, setCount] = useState(5)
  const [item, setItem] = useState(ANY)
  const { data: ticketTypes = [] } = useTicketTypes(scope)
  const { data: addOns = [] } = useAddOns(scope)
  const issue = useFormAction({
    run: async (body: Schema<'CreateVoucherBatch'>, key) => {
      const batch = await dataOf(
        api.POST('/v1/conferences/{conference}/voucher-batches', {
          params: { path: { conference }, header: { 'Idempotency-Key': key } },
          body,
        }),
      )
      if (!scope.may('vouchers:read')) return { batch, codes: [] }
      const { data } = await dataOf(
        api.GET('/v1/conferences/{conference}/voucher-batches/{batch}/vouchers', {
          params: { path: { conference, batch: batch.id }, query: { limit: SHOWN_CODES } },
        }),
      )
      return { batch, codes: data.map(({ code }) => code) }
    },
    changes: [['vouchers', conference]],
    done: ({ batch }) => `${sponsor.name} got ${plural(batch.count, 'free code')}.`,
  })
  if (issue.data !== undefined) {
    const { batch, codes } = issue.data
    return (
      <Dialog
        title={`${plural(batch.count, 'free code')} for ${sponsor.name}`}
        isOpen
        onClose={onClose}
      >
        {codes.length === 0 ? null : (
          <>
            <textarea
              className="code code-text"
              readOnly
              aria-label="The codes"
              rows={Math.min(codes.length, 8)}
              value={codes.join('\n')}
            />
            {batch.count > codes.length ? (
              <p className="muted">The first {codes.length}. The page Vouchers has the others.</p>
            ) : null}
            <CopyButton text={codes.join('\n')} label="Copy the codes" />
          </>
        )}
        <DialogButtons action="Done" onAction={onClose} onClose={onClose} busy={false} />
      </Dialog>
    )
  }
  return (
    <FormDialog
      title={`Issue free codes to ${sponsor.name}`}
      action="Issue"
      onSubmit={() =>
        issue.mutate({
          count,
          voucher_type: 'comp',
          sponsor: sponsor.id,
          ...(ticketTypes.some(({ id }) => id === item) ? { ticket_type: item } : {}),
          ...(addOns.some(({ id }) => id === item) ? { add_on: item } : {}),
        })
      }
      onClose={onClose}
      busy={issue.isPending}
      error={issue.error}
      shown={['count']}
    >
      <p>Each code is worth one free ticket. There is nothing to pay and no purchase.</p>
      <NumberField
        label="Codes"
        name="count"
        isRequired
        min={1}
        value={count}
        onChange={setCount}
        error={issue.error}
      />
      <SelectField
        label="For"
        value={item}
        onChange={setItem}
        options={[
          { key: ANY, label: 'Any ticket' },
          ...[...ticketTypes, ...addOns].map(({ id, name }) => ({ key: id, label: name })),
        ]}
      />
    </FormDialog>
  )
}
