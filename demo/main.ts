import { Command, Option } from 'commander'
import { interruptSignal, processTerminal } from '../src/cli/terminal.ts'
import { runDemo } from './run-demo.ts'

const program = new Command('npm run demo --')
  .description(
    'Runs a purchase from order to refund with real requests and fake money, then keeps running for your own requests.',
  )
  .option('--once', 'exit after the story; exit code 0 only if every step had the expected result')
  .option('--port <port>', 'port of the service; if it is in use, any free port', Number, 3000)
  .option(
    '--stripe-port <port>',
    'port of the fake Stripe; if it is in use, any free port',
    Number,
    12111,
  )
  .option(
    '--purchases <number>',
    'how many purchases a second conference gets after the story, for the portal and the console',
    Number,
    300,
  )
  .option('--data-dir <folder>', 'folder of the database, the mails and the log', '.data/demo')
  .addOption(new Option('--node-env <name>').env('NODE_ENV').hideHelp())
  .parse()

const options = program.opts<{
  once?: true
  port: number
  stripePort: number
  purchases: number
  dataDir: string
  nodeEnv?: string
}>()

process.exitCode = await runDemo(
  {
    ...options,
    once: options.once === true,
    nodeEnv: options.nodeEnv,
    // A bundle has no sources of pages.
    buildPages: options.once !== true && import.meta.url.endsWith('.ts'),
  },
  processTerminal(),
  interruptSignal(),
)
// Everything is stopped. If something still keeps the process alive, exit after a second.
setTimeout(() => process.exit(), 1_000).unref()
