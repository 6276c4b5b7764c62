import type { ReactNode } from 'react'
import { Button } from 'react-aria-components/Button'
import { Checkbox } from 'react-aria-components/Checkbox'
import { FieldError } from 'react-aria-components/FieldError'
import { Input } from 'react-aria-components/Input'
import { Label } from 'react-aria-components/Label'
import { ListBox, ListBoxItem } from 'react-aria-components/ListBox'
import { NumberField as AriaNumberField } from 'react-aria-components/NumberField'
import { Popover } from 'react-aria-components/Popover'
import { Select, SelectValue } from 'react-aria-components/Select'
import { Text } from 'react-aria-components/Text'
import { TextArea } from 'react-aria-components/TextArea'
import { TextField as AriaTextField } from 'react-aria-components/TextField'
import type { ApiError } from '../api/client.ts'

type Common = {
  label: string
  /** The field of the API that it fills: its error is shown here. */
  name?: string
  error?: ApiError | null
  hint?: ReactNode
  isRequired?: boolean
  isDisabled?: boolean
}

function detailOf({ name, error }: Common): string | undefined {
  return name === undefined ? undefined : error?.fieldError(name)
}

/** The API says `must be at most 500`, or a whole sentence. */
const sentenceOf = (label: string, detail: string) =>
  /^\p{Lu}/u.test(detail) ? detail : `${label.replace(/ \(optional\)$/, '')} ${detail}.`

function Notes({ common }: { common: Common }) {
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
      isInvalid={detailOf(common) !== undefined}
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

/** A field for a number. `value` is NaN while it is empty. */
export function NumberField({
  value,
  onChange,
  min,
  max,
  format,
  ...common
}: Common & {
  value: number
  onChange: (value: number) => void
  min?: number
  max?: number
  format?: Intl.NumberFormatOptions
}) {
  return (
    <AriaNumberField
      className="field"
      value={value}
      onChange={onChange}
      isInvalid={detailOf(common) !== undefined}
      {...(min === undefined ? {} : { minValue: min })}
      {...(max === undefined ? {} : { maxValue: max })}
      {...(format === undefined ? {} : { formatOptions: format })}
      {...(common.name === undefined ? {} : { name: common.name })}
      {...(common.isRequired === undefined ? {} : { isRequired: common.isRequired })}
      {...(common.isDisabled === undefined ? {} : { isDisabled: common.isDisabled })}
    >
      <Label>{common.label}</Label>
      <Input />
      <Notes common={common} />
    </AriaNumberField>
  )
}

/** A choice of one. */
export function SelectField<Key extends string>({
  value,
  onChange,
  options,
  placeholder = 'Choose',
  ...common
}: Common & {
  value: Key | null
  onChange: (value: Key) => void
  options: readonly { key: Key; label: string; hint?: string }[]
  placeholder?: string
}) {
  return (
    <Select
      className="field"
      selectedKey={value}
      onSelectionChange={(key) => onChange(key as Key)}
      placeholder={placeholder}
      isInvalid={detailOf(common) !== undefined}
      {...(common.isRequired === undefined ? {} : { isRequired: common.isRequired })}
      {...(common.isDisabled === undefined ? {} : { isDisabled: common.isDisabled })}
    >
      <Label>{common.label}</Label>
      <Button className="select-button">
        <SelectValue />
        <span aria-hidden="true">▾</span>
      </Button>
      <Notes common={common} />
      <Popover className="popover">
        <ListBox className="list-box">
          {options.map(({ key, label, hint }) => (
            <ListBoxItem key={key} id={key} textValue={label} className="list-box-item">
              <Text slot="label">{label}</Text>
              {hint === undefined ? null : (
                <Text slot="description" className="hint">
                  {hint}
                </Text>
              )}
            </ListBoxItem>
          ))}
        </ListBox>
      </Popover>
    </Select>
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
