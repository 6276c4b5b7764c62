import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { useFormAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { NumberField } from '../ui/choices.tsx'
import { Button } from '../ui/controls.tsx'
import { Loaded } from '../ui/feedback.tsx'
import { CheckboxField, changesOf, OtherErrors, TextField } from '../ui/form.tsx'
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
            {may('settings:write') ? <General conference={conference} settings={saved} /> : null}
            {isOperator ? <Limits conference={conference} settings={saved} /> : null}
          </>
        )}
      </Loaded>
      {may('settings:write') ? <OutboundWebhooks scope={scope} /> : null}
    </>
  )
}

function useChange(conference: string, onSaved: (saved: Conference) => void) {
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
    onDone: onSaved,
  })
}

const textsOf = ({ name, allowed_origins: origins, bank_details: bank }: Conference) => ({
  name,
  origins: origins.join('\n'),
  bank: bank ?? '',
})

function General({ conference, settings }: { conference: string; settings: Conference }) {
  // The form keeps what the person saw and typed, whatever else is saved meanwhile.
  const [before, setBefore] = useState(() => textsOf(settings))
  const [texts, setTexts] = useState(before)
  const save = useChange(conference, (saved) => setBefore(textsOf(saved)))
  const set = (change: Partial<typeof texts>) => setTexts((now) => ({ ...now, ...change }))
  return (
    <form
      className="card stack"
      onSubmit={(event) => {
        event.preventDefault()
        const { name, origins, bank } = changesOf(before, texts)
        save.mutate({
          ...(name === undefined ? {} : { name: name.trim() }),
          ...(origins === undefined
            ? {}
            : { allowed_origins: origins.split(/\s+/).filter((each) => each !== '') }),
          ...(bank === undefined ? {} : { bank_details: bank.trim() || null }),
        })
      }}
    >
      <h2>General</h2>
      <TextField
        label="Name"
        name="name"
        isRequired
        value={texts.name}
        onChange={(name) => set({ name })}
        error={save.error}
      />
      <TextField
        label="Allowed origins"
        name="allowed_origins"
        lines={3}
        value={texts.origins}
        onChange={(origins) => set({ origins })}
        error={save.error}
        hint="Where the payment page may return to, one per line, such as https://tickets.example.org. Empty: any https address."
      />
      <TextField
        label="Bank details"
        name="bank_details"
        lines={3}
        value={texts.bank}
        onChange={(bank) => set({ bank })}
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

const NUMBERS = [
  { name: 'max_quantity', label: 'Codes in one purchase, at most', min: 1, max: 1_000_000 },
  { name: 'code_length', label: 'Random symbols in a code', min: 8, max: 32 },
  {
    name: 'checkout_expires_after_minutes',
    label: 'Minutes until a payment page expires',
    min: 31,
    max: 1_440,
  },
] as const

const limitsOf = (settings: Conference) => ({
  max_quantity: settings.max_quantity,
  code_length: settings.code_length,
  checkout_expires_after_minutes: settings.checkout_expires_after_minutes,
  invoice_creation: settings.invoice_creation,
  tax_id_collection: settings.tax_id_collection,
})

/** Only an operator changes what affects the platform. */
function Limits({ conference, settings }: { conference: string; settings: Conference }) {
  const [before, setBefore] = useState(() => limitsOf(settings))
  const [limits, setLimits] = useState(before)
  const save = useChange(conference, (saved) => setBefore(limitsOf(saved)))
  // A number field tells its value when the next field is pressed, so a change builds on the newest one.
  const set = (change: Partial<typeof limits>) => setLimits((now) => ({ ...now, ...change }))
  return (
    <form
      className="card stack"
      onSubmit={(event) => {
        event.preventDefault()
        save.mutate(changesOf(before, limits))
      }}
    >
      <h2>Limits and payment page</h2>
      <div className="grid">
        {NUMBERS.map((field) => (
          <NumberField
            key={field.name}
            {...field}
            isRequired
            value={limits[field.name]}
            onChange={(value) => set({ [field.name]: value })}
            error={save.error}
          />
        ))}
      </div>
      <div className="stack-tight">
        <CheckboxField
          label="Stripe makes an invoice for each payment"
          value={limits.invoice_creation}
          onChange={(isOn) => set({ invoice_creation: isOn })}
        />
        <CheckboxField
          label="The payment page asks companies for their tax id"
          value={limits.tax_id_collection}
          onChange={(isOn) => set({ tax_id_collection: isOn })}
        />
      </div>
      <OtherErrors error={save.error} shown={NUMBERS.map(({ name }) => name)} />
      <div>
        <Button kind="primary" type="submit" busy={save.isPending}>
          Save the limits
        </Button>
      </div>
    </form>
  )
}
