import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useAction } from '../api/actions.ts'
import { type ApiError, api, dataOf } from '../api/client.ts'
import { homeOf } from '../api/session.ts'
import { Button } from '../ui/controls.tsx'
import { Failure } from '../ui/feedback.tsx'
import { OtherErrors, TextField } from '../ui/form.tsx'

/** The token of a mailed link. It is in the fragment, which the browser does not send. */
const tokenOf = () => new URLSearchParams(location.hash.slice(1)).get('token')

/** Where the person wanted to go: a path of this service, never another site. */
function returnPath(): string | null {
  const path = new URLSearchParams(location.search).get('return')
  return path !== null && /^\/(portal|console)([/?]|$)/.test(path) ? path : null
}

/** Signs in with the token of a link, or asks for the address to which a link goes. */
export function SignIn() {
  const [token] = useState(tokenOf)
  return (
    <main className="page page-narrow">
      <div className="card stack">
        <h1>Sign in</h1>
        {token === null ? <RequestLink /> : <UseLink token={token} />}
      </div>
    </main>
  )
}

function UseLink({ token }: { token: string }) {
  // A press, because a mail scanner that opens the page must not use up the link.
  const signIn = useAction({
    run: async () => {
      await api.POST('/v1/sessions', { body: { token } })
      return dataOf(api.GET('/v1/me'))
    },
    quiet: true,
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
  const request = useAction({ run: () => api.POST('/v1/sign-in', { body: { email } }) })
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
