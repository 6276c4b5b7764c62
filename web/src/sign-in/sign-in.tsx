import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useAction, useFormAction } from '../api/actions.ts'
import { type ApiError, api, dataOf } from '../api/client.ts'
import { homeOf } from '../api/session.ts'
import { Button } from '../ui/controls.tsx'
import { Failure } from '../ui/feedback.tsx'
import { OtherErrors, TextField } from '../ui/form.tsx'

/** The token of a mailed link. It is in the fragment, which the browser does not send. */
const tokenOf = () => new URLSearchParams(location.hash.slice(1)).get('token')

/** Where the person wanted to go: a page of this service, as a browser understands the text. */
function returnPath(): string | null {
  const text = new URLSearchParams(location.search).get('return')
  if (text === null || !URL.canParse(text, location.origin)) return null
  const { origin, pathname, search } = new URL(text, location.origin)
  const isPage = origin === location.origin && /^\/(portal|console)(\/|$)/.test(pathname)
  return isPage ? `${pathname}${search}` : null
}

/** Why a sign-in with the identity provider failed, by its code in the address. */
const FAILURES = new Map([
  ['refused', 'The provider refused the sign-in. Try again, or use a link by mail.'],
  ['unverified', 'The provider has not verified your e-mail address. Use a link by mail.'],
  [
    'no_access',
    'This address has no access as staff. If you buy for a sponsor, use a link by mail.',
  ],
  ['expired', 'This sign-in took longer than ten minutes, or was used already. Try again.'],
  ['unreachable', 'The provider cannot be reached. Try again in a minute, or use a link by mail.'],
])

/** Signs in with the token of a link, or asks for the address to which a link goes. */
export function SignIn() {
  const [token] = useState(tokenOf)
  return (
    <main className="page page-narrow">
      <div className="card stack">
        <h1>Sign in</h1>
        {token === null ? <ChooseMethod /> : <UseLink token={token} />}
      </div>
    </main>
  )
}

/** The identity provider of the organizer, if there is one, and a link by mail. */
function ChooseMethod() {
  const methods = useQuery({
    queryKey: ['sign-in-methods'],
    queryFn: () => dataOf(api.GET('/v1/sign-in')),
    staleTime: Number.POSITIVE_INFINITY,
  })
  const oidc = methods.data?.oidc ?? null
  const code = new URLSearchParams(location.search).get('error')
  const back = returnPath()
  return (
    <>
      {code === null ? null : (
        <div className="failure" role="alert">
          <p>{FAILURES.get(code) ?? 'The sign-in failed. Try again.'}</p>
        </div>
      )}
      {oidc === null ? null : (
        <a
          className="button button-normal"
          href={back === null ? oidc.path : `${oidc.path}?return=${encodeURIComponent(back)}`}
        >
          Sign in with {oidc.name}
        </a>
      )}
      <RequestLink />
    </>
  )
}

function UseLink({ token }: { token: string }) {
  // A press, because a mail scanner that opens the page must not use up the link.
  const signIn = useAction({
    run: async () => {
      await api.POST('/v1/sessions', { body: { token } })
      return dataOf(api.GET('/v1/me'))
    },
    shows: 'errors',
    onDone: (me) => location.replace(returnPath() ?? homeOf(me) ?? '/sign-in'),
  })
  if (signIn.error !== null) {
    return (
      <>
        <Failure error={signIn.error} />
        <RequestLink />
      </>
    )
  }
  return (
    <>
      <p>The link is ready. It works once.</p>
      <Button kind="primary" busy={signIn.isPending} onPress={() => signIn.mutate()} autoFocus>
        Sign in
      </Button>
    </>
  )
}

function RequestLink() {
  const [email, setEmail] = useState('')
  const request = useFormAction({ run: () => api.POST('/v1/sign-in', { body: { email } }) })
  const me = useQuery({ queryKey: ['me'], queryFn: () => dataOf(api.GET('/v1/me')), retry: false })
  const home = me.data === undefined ? null : (returnPath() ?? homeOf(me.data))
  if (request.isSuccess) {
    return (
      <div className="note note-good" role="status">
        <p>
          If {email} may sign in, a link is on its way. It works once, for 15 minutes. Look into the
          spam folder too.
        </p>
      </div>
    )
  }
  return (
    <form
      className="stack"
      onSubmit={(event) => {
        event.preventDefault()
        request.mutate()
      }}
    >
      {home === null ? null : (
        <p>
          You are signed in as {me.data?.email}. <a href={home}>Continue</a>
        </p>
      )}
      <TextField
        label="E-mail address"
        name="email"
        type="email"
        autoComplete="email"
        isRequired
        value={email}
        onChange={setEmail}
        error={request.error as ApiError | null}
        hint="We send you a link. You need no password."
      />
      <OtherErrors error={request.error} shown={['email']} />
      <Button kind="primary" type="submit" busy={request.isPending}>
        Send the link
      </Button>
    </form>
  )
}
