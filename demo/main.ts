import { Command, Option } from 'commander'
import { interruptSignal, processTerminal } from '../src/cli/terminal.ts'
import { runDemo } from './run-demo.ts'

const program = new Command('npm run demo --')
  .description(
    'Shows the life of a purchase with real requests and fake money, then stays up to go on by hand.',
  )
  .option('--once', 'end after the story; exit code 0 only if every step showed what it should')
  .option('--port <port>', 'of the service; another one when it is taken', Number, 3000)
  .option('--stripe-port <port>', 'of the fake Stripe; another one when it is taken', Number, 12111)
  .option('--data-dir <folder>', 'for the database and the log', '.data/demo')
  .addOption(new Option('--node-env <name>').env('NODE_ENV').hideHelp())
  .parse()

const options = program.opts<{
  once?: true
  port: number
  stripePort: number
  dataDir: string
  nodeEnv?: string
}>()

process.exitCode = await runDemo(
  { ...options, once: options.once === true, nodeEnv: options.nodeEnv },
  processTerminal(),
  interruptSignal(),
)
// Nothing runs any more; should something hold the process all the same, it does not hold it long.
setTimeout(() => process.exit(), 1_000).unref()
