import { Button } from 'react-aria-components/Button'
import { Input } from 'react-aria-components/Input'
import { Label } from 'react-aria-components/Label'
import { ListBox, ListBoxItem } from 'react-aria-components/ListBox'
import { NumberField as AriaNumberField } from 'react-aria-components/NumberField'
import { Popover } from 'react-aria-components/Popover'
import { Select, SelectValue } from 'react-aria-components/Select'
import { Text } from 'react-aria-components/Text'
import { type Common, Notes, validityOf } from './form.tsx'

// Not in form.tsx: they are half as large as a whole first page, and only some pages need them.

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
      {...validityOf(common)}
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
      {...validityOf(common)}
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
