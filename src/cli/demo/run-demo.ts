import { once } from 'node:events'
import { EXIT } from '../failure.ts'
import { Interrupted, unlessInterrupted } from '../interrupted.ts'
import { createPaint } from '../output/paint.ts'
import type { Terminal } from '../output/terminal.ts'
import { sayFarewell } from './farewell.ts'
import { Mismatch } from './mismatch.ts'
import { createNarrator } from './narrator.ts'
import { createTakeDown, type StageOptions, setStage } from './stage.ts'
import { CONFERENCE } from './story/scene.ts'

export type DemoOptions = StageOptions & {
  /** Ends after the story instead of staying up. */
  once: boolean
}

/**
 * The whole demo: sets the stage, tells the story, and stays up until the signal.
 *
 * @returns the exit code: 0 only when every step showed what it should and everything stopped.
 */
export async function runDemo(
  options: DemoOptions,
  { out, err }: Pick<Terminal, 'out' | 'err'>,
  signal: AbortSignal,
): Promise<number> {
  const { keep, takeDown } = createTakeDown()
  const failed = (what: string) => {
    err.write(`\n  ${createPaint(err.colours).red('The demo failed.')} ${what}\n\n`)
    return EXIT.failed
  }
  const play = async (): Promise<number> => {
    try {
      await perform(options, out, signal, keep)
      return EXIT.ok
    } catch (error) {
      if (signal.aborted || error instanceof Interrupted) return EXIT.interrupted
      if (error instanceof Mismatch) return failed(error.message)
      return failed(error instanceof Error ? (error.stack ?? error.message) : String(error))
    }
  }
  const exitCode = await play()
  const troubled = await takeDown()
  if (exitCode === EXIT.ok && troubled.length > 0) {
    return failed(`Not stopped in order: ${troubled.join(', ')}.`)
  }
  return exitCode
}

async function perform(
  options: DemoOptions,
  out: Terminal['out'],
  signal: AbortSignal,
  keep: Parameters<typeof setStage>[3],
): Promise<void> {
  const begun = performance.now()
  const narrator = createNarrator(out)
  narrator.title('sponsor-vouchers', 'a demo: real requests, fake money')
  const stage = await setStage(options, narrator, signal, keep)
  const { serviceUrl, stripe, operatorKey, mailFolder, settingsFile } = stage
  const { createDemoApi } = await import('./demo-api.ts')
  const { tellStory } = await import('./story/tell-story.ts')
  const place = `/v1/conferences/${CONFERENCE}`
  const api = createDemoApi({ serviceUrl, place, signal }, narrator)
  const scene = { narrator, api, serviceUrl, stripe, operatorKey, mailFolder, signal }
  const shop = await unlessInterrupted(signal, tellStory(scene))
  narrator.end(performance.now() - begun)
  if (options.once) return
  sayFarewell(out, shop, {
    serviceUrl,
    stripeUrl: stripe.url,
    operatorKey,
    mailFolder,
    settingsFile,
  })
  if (!signal.aborted) await once(signal, 'abort')
  out.write('\n  Stopping.\n')
}
