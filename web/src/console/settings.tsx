import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { useFormAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { NumberField } from '../ui/choices.tsx'
import { Button } from '../ui/controls.tsx'
import { Loaded } from '../ui/feedback.tsx'
import { CheckboxField, OtherErrors, TextField } from '../ui/form.tsx'
import { PageHead } from '../ui/shell.tsx'
import { OutboundWebhooks } from './outbound-webhooks.tsx'
import type { ConsoleScope } from './scope.ts'
import { StripeSetup } from './stripe-setup.tsx'

type Conference = Schema<'Conference'>
type Change = Schema<'UpdateConference'>

const PATH = '/v1/conferences/{conference}'

/** The settings of the conference, and whether Stripe is set up. */
export function Settings({ scope }: { scope: ConsoleScope }) {
  const { conference, may, isOperator } = scope
  const settings = useQuery({
    queryKey: ['conference', conference],
    queryFn: () => dataOf(api.GET(PATH, { params: { path: { conference } } })),
  })
  return (
    <>
      <PageHead title="Settings">
        <Link className="button" href="/audit-log">
          Audit log
        </Link>
      </PageHead>
      <Loaded query={settings}>
        {(saved) => (
          <>
            <StripeSetup scope={scope} settings={saved} />
            {may('settings:write') ? (
              <General key={saved.updated_at} conference={conference} settings={saved} />
            ) : null}
            {isOperator ? (
              <Limits key={`limits ${saved.updated_at}`} conference={conference} settings={saved} />
            ) : null}
          </>
        )}
      </Loaded>
      {may('settings:write') ? <OutboundWebhooks scope={scope} /> : null}
    </>
  )
}

function useChange(conference: string) {
  return useFormAction({
    run: (body: Change, key) =>
      dataOf(
        api.PATCH(PATH, {
          params: { path: { conference }, header: { 'Idempotency-Key': key } },
          body,
        }),
      ),
    changes: [['conference', conference]],
    done: 'The settings were saved.',
  })
}

function General({ conference, settings }: { conference: string; settings: Conference }) {
  const [name, setName] = useState(settings.name)
  const [origins, setOrigins] = useState(settings.allowed_origins.join('\n'))
  const [bank, setBank] = useState(settings.bank_details ?? '')
  const save = useChange(conference)
  return (
    <form
      className="card stack"
      onSubmit={(event) => {
        event.preventDefault()
        save.mutate({
          name: name.trim(),
          allowed_origins: origins.split(/\s+/).filter((each) => each !== ''),
          bank_details: bank.trim() === '' ? null : bank.trim(),
        })
      }}
    >
      <h2>General</h2>
      <TextField
        label="Name"
        name="name"
        isRequired
        value={name}
        onChange={setName}
        error={save.error}
      />
      <TextField
        label="Allowed origins"
        name="allowed_origins"
        lines={3}
        value={origins}
        onChange={setOrigins}
        error={save.error}
        hint="Where the payment page may return to, one per line, such as https://tickets.example.org. Empty: any https address."
      />
      <TextField
        label="Bank details"
        name="bank_details"
        lines={3}
        value={bank}
        onChange={setBank}
        error={save.error}
        hint="What sponsors read who pay by bank transfer: account holder, IBAN, BIC. Empty: they cannot."
      />
      <OtherErrors error={save.error} shown={['name', 'allowed_origins', 'bank_details']} />
      <div>
        <Button kind="primary" type="submit" busy={save.isPending}>
          Save
        </Button>
      </div>
    </form>
  )
}

/** Only an operator changes what affects the platform. */
function Limits({ conference, settings }: { conference: string; settings: Conference }) {
  const [quantity, setQuantity] = useState(settings.max_quantity)
  const [length, setLength] = useState(settings.code_length)
  const [minutes, setMinutes] = useState(settings.checkout_expires_after_minutes)
  const [invoices, setInvoices] = useState(settings.invoice_creation)
  const [taxIds, setTaxIds] = useState(settings.tax_id_collection)
  const save = useChange(conference)
  return (
    <form
      className="card stack"
      onSubmit={(event) => {
        event.preventDefault()
        save.mutate({
          max_quantity: quantity,
          code_length: length,
          checkout_expires_after_minutes: minutes,
          invoice_creation: invoices,
          tax_id_collection: taxIds,
        })
      }}
    >
      <h2>Limits and payment page</h2>
      <div className="grid">
        <NumberField
          label="Codes in one purchase, at most"
          name="max_quantity"
          isRequired
          min={1}
          max={1_000_000}
          value={quantity}
          onChange={setQuantity}
          error={save.error}
        />
        <NumberField
          label="Random symbols in a code"
          name="code_length"
          isRequired
          min={8}
          max={32}
          value={length}
          onChange={setLength}
          error={save.error}
        />
        <NumberField
          label="Minutes until a payment page expires"
          name="checkout_expires_after_minutes"
          isRequired
          min={31}
          max={1_440}
          value={minutes}
          onChange={setMinutes}
          error={save.error}
        />
      </div>
      <div className="stack-tight">
        <CheckboxField
          label="Stripe makes an invoice for each payment"
          value={invoices}
          onChange={setInvoices}
        />
        <CheckboxField
          label="The payment page asks companies for their tax id"
          value={taxIds}
          onChange={setTaxIds}
        />
      </div>
      <OtherErrors
        error={save.error}
        shown={['max_quantity', 'code_length', 'checkout_expires_after_minutes']}
      />
      <div>
        <Button kind="primary" type="submit" busy={save.isPending}>
          Save the limits
        </Button>
      </div>
    </form>
  )
}
