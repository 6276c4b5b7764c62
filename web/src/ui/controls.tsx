import type { ReactNode } from 'react'
import { Button as AriaButton, type ButtonProps } from 'react-aria-components/Button'

/** A button; while its action runs it says so and takes no second press. */
export function Button({
  kind = 'normal',
  small = false,
  big = false,
  busy = false,
  children,
  type = 'button',
  onPress,
  ...props
}: Omit<ButtonProps, 'children' | 'className' | 'isPending'> & {
  kind?: 'normal' | 'primary' | 'danger' | 'quiet'
  small?: boolean
  /** For thumbs. */
  big?: boolean
  busy?: boolean
  children: ReactNode
}) {
  const classes = ['button', `button-${kind}`]
  if (small) classes.push('button-small')
  if (big) classes.push('button-big')
  return (
    // Not `isPending`, which would announce the button by an id that is gone when the dialog closes.
    <AriaButton
      {...props}
      type={busy ? 'button' : type}
      onPress={busy ? undefined : onPress}
      aria-disabled={busy ? 'true' : undefined}
      className={classes.join(' ')}
    >
      {busy ? <span className="spinner" aria-hidden="true" /> : null}
      {children}
    </AriaButton>
  )
}
