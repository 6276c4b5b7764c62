import type { ReactNode } from 'react'
import { Checkbox } from 'react-aria-components/Checkbox'
import { FieldError } from 'react-aria-components/FieldError'
import { Input } from 'react-aria-components/Input'
import { Label } from 'react-aria-components/Label'
import { Text } from 'react-aria-components/Text'
import { TextArea } from 'react-aria-components/TextArea'
import { TextField as AriaTextField } from 'react-aria-components/TextField'
import type { ApiError } from '../api/client.ts'

/** What every field has. */
export type Common = {
  label: string
  /** The field of the API that it fills: its error is shown here. */
  name?: string
  error?: ApiError | null
  hint?: ReactNode
  isRequired?: boolean
  isDisabled?: boolean
}

/** What the API says about the field. */
function detailOf({ name, error }: Common): string | undefined {
  return name === undefined ? undefined : error?.fieldError(name)
}

/**
 * A field that the API refused. In the mode `native`, the browser would refuse to send the form again, also if
 * another field is corrected.
 */
export function validityOf(common: Common) {
  const isInvalid = detailOf(common) !== undefined
  return { isInvalid, validationBehavior: isInvalid ? ('aria' as const) : ('native' as const) }
}

/** The API says `must be at most 500`, or a whole sentence. */
const sentenceOf = (label: string, detail: string) =>
  /^\p{Lu}/u.test(detail) ? detail : `${label.replace(/ \(optional\)$/, '')} ${detail}.`

/** The hint and the error below a field. */
export function Notes({ common }: { common: Common }) {
  const detail = detailOf(common)
  return (
    <>
      {common.hint === undefined ? null : (
        <Text slot="description" className="hint">
          {common.hint}
        </Text>
      )}
      <FieldError className="field-error">
        {detail === undefined ? undefined : sentenceOf(common.label, detail)}
      </FieldError>
    </>
  )
}

/** A field for text: one line, or several with `lines`. */
export function TextField({
  value,
  onChange,
  type = 'text',
  lines = 1,
  placeholder,
  autoComplete,
  autoFocus,
  ...common
}: Common & {
  value: string
  onChange: (value: string) => void
  type?: 'text' | 'email' | 'search' | 'password' | 'date' | 'datetime-local' | 'url'
  lines?: number
  placeholder?: string
  autoComplete?: string
  autoFocus?: boolean
}) {
  return (
    <AriaTextField
      className="field"
      value={value}
      onChange={onChange}
      type={type}
      {...validityOf(common)}
      {...(common.name === undefined ? {} : { name: common.name })}
      {...(common.isRequired === undefined ? {} : { isRequired: common.isRequired })}
      {...(common.isDisabled === undefined ? {} : { isDisabled: common.isDisabled })}
      {...(autoComplete === undefined ? {} : { autoComplete })}
      {...(autoFocus === undefined ? {} : { autoFocus })}
    >
      <Label>{common.label}</Label>
      {lines > 1 ? (
        <TextArea rows={lines} placeholder={placeholder} />
      ) : (
        <Input placeholder={placeholder} />
      )}
      <Notes common={common} />
    </AriaTextField>
  )
}

export function CheckboxField({
  label,
  value,
  onChange,
  isDisabled = false,
}: {
  label: ReactNode
  value: boolean
  onChange: (value: boolean) => void
  isDisabled?: boolean
}) {
  return (
    <Checkbox className="checkbox" isSelected={value} onChange={onChange} isDisabled={isDisabled}>
      <span className="checkbox-box" aria-hidden="true" />
      {label}
    </Checkbox>
  )
}

/** Errors of fields that the form does not show, so that none is lost. */
export function OtherErrors({
  error,
  shown,
}: {
  error: ApiError | null
  shown: readonly string[]
}) {
  const others = (error?.errors ?? []).filter(
    ({ pointer }) => !shown.some((name) => pointer === `/${name}`),
  )
  if (others.length === 0) return null
  return (
    <ul className="failure" role="alert">
      {others.map(({ pointer, detail }) => (
        <li key={`${pointer} ${detail}`}>
          {pointer.slice(1)} {detail}
        </li>
      ))}
    </ul>
  )
}

/** The entries that a person changed. Sent alone, they undo no change that somebody else made meanwhile. */
export function changesOf<T extends object>(before: T, now: T): Partial<T> {
  const changed = Object.entries(now).filter(([name, value]) => before[name as keyof T] !== value)
  return Object.fromEntries(changed) as Partial<T>
}
