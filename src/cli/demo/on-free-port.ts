/** Starts something on the wanted port, or on any free one when that is taken. */
export async function onFreePort<T>(
  wanted: number,
  start: (port: number) => Promise<T>,
): Promise<T> {
  try {
    return await start(wanted)
  } catch (error) {
    // EACCES: a port that this user may not open.
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code !== 'EADDRINUSE' && code !== 'EACCES') throw error
    return start(0)
  }
}
