import type { ReactNode } from 'react'
import { Button as AriaButton, type ButtonProps } from 'react-aria-components/Button'

/** A button; while its action runs it says so and takes no second press. */
export function Button({
  kind = 'normal',
  small = false,
  busy = false,
  children,
  ...props
}: Omit<ButtonProps, 'children' | 'className' | 'isPending'> & {
  kind?: 'normal' | 'primary' | 'danger' | 'quiet'
  small?: boolean
  busy?: boolean
  children: ReactNode
}) {
  const classes = ['button', `button-${kind}`, ...(small ? ['button-small'] : [])]
  return (
    <AriaButton {...props} isPending={busy} className={classes.join(' ')}>
      {busy ? <span className="spinner" aria-hidden="true" /> : null}
      {children}
    </AriaButton>
  )
}
