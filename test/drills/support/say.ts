let began: number | null = null

/** Prints what a drill does, with the seconds since its first line. */
export function say(text: string): void {
  began ??= performance.now()
  const seconds = ((performance.now() - began) / 1_000).toFixed(1).padStart(6)
  process.stdout.write(`${seconds} s  ${text}\n`)
}
