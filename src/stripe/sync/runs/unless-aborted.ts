/**
 * The result of `work`, unless the signal comes first: the SDK cannot be told to give a request up.
 *
 * @throws the signal's reason.
 */
export async function unlessAborted<T>(signal: AbortSignal, work: PromiseLike<T>): Promise<T> {
  let stop = () => {}
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(signal.reason)
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
    // It may still fail; nobody waits for it any more.
    work.then(undefined, () => {})
  }
}
