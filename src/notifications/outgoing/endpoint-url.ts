const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

const LONGEST_URL = 2_000

/**
 * Why an address cannot be called, or null. Whether it leads into a private network is seen when it
 * is called: a name may lead somewhere else by then.
 *
 * @param allowLoopback lets `http://` and this machine pass, for development.
 */
export function urlProblem(text: string, allowLoopback: boolean): string | null {
  if (text.length > LONGEST_URL) return `must have at most ${LONGEST_URL} characters`
  if (!URL.canParse(text)) return 'must be an address such as https://example.org/hooks'
  const { protocol, username, password, hash, hostname } = new URL(text)
  const isLoopback = LOOPBACK.has(hostname)
  const isPlain = protocol === 'http:' && isLoopback && allowLoopback
  if (protocol !== 'https:' && !isPlain) return 'must begin with https://'
  if (isLoopback && !allowLoopback) return 'must not lead to this machine'
  if (username !== '' || password !== '') return 'must not hold a user or a password'
  if (hash !== '') return 'must not hold a fragment'
  return null
}
