import type { ReactNode } from 'react'
import type { ApiError } from '../api/client.ts'
import { TextField } from './form.tsx'

/** A person, as people type it. */
export type Person = { email: string; name: string }

export const NOBODY: Person = { email: '', name: '' }

/** The fields of the API that show their errors here. */
export const PERSON_NAMES = ['email', 'name'] as const

/** For the API, which wants no empty name. */
export const personOf = ({ email, name }: Person): { email: string; name?: string } => ({
  email: email.trim(),
  ...(name.trim() === '' ? {} : { name: name.trim() }),
})

/** The address and the name of a person. */
export function PersonFields({
  person,
  onChange,
  error,
  hint,
}: {
  person: Person
  onChange: (person: Person) => void
  error: ApiError | null
  /** What the address is for. */
  hint?: ReactNode
}) {
  return (
    <>
      <TextField
        label="E-mail address"
        name="email"
        type="email"
        isRequired
        autoFocus
        value={person.email}
        onChange={(email) => onChange({ ...person, email })}
        error={error}
        hint={hint}
      />
      <TextField
        label="Name (optional)"
        name="name"
        value={person.name}
        onChange={(name) => onChange({ ...person, name })}
        error={error}
      />
    </>
  )
}
