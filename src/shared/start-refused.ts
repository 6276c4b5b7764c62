/** The process must not run like this. The message is for whoever starts it; a stack tells nothing. */
export class StartRefused extends Error {
  override readonly name = 'StartRefused'
}
