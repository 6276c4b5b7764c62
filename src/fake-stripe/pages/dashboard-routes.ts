import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { COMMANDS } from '../control/commands.ts'
import { describe } from '../control/control-routes.ts'
import type { FakeStripeControl } from '../control/fake-stripe-control.ts'
import type { World } from '../core/world.ts'
import { dashboardPage } from './dashboard-page.ts'
import { sendPage } from './page-layout.ts'

const text = z.string().optional().catch(undefined)
const query = z.object({ account: text, notice: text, problem: text, request: text })
const form = z.looseObject({ _account: z.string().optional() })

/** The dashboard at `/`; its buttons post to `/_dashboard/{command}` and lead back to it. */
export function registerDashboard(
  app: FastifyInstance,
  world: World,
  control: FakeStripeControl,
): void {
  app.get('/', (request, reply) =>
    sendPage(reply, dashboardPage(world, query.parse(request.query))),
  )
  app.post<{ Params: { command: string } }>('/_dashboard/:command', async (request, reply) => {
    const { _account: account, ...input } = form.parse(request.body ?? {})
    const { command } = request.params
    const said = await perform(control, command, withoutBlanks(input))
    const back = new URLSearchParams({ ...(account ? { account } : {}), ...said })
    return reply.redirect(`/?${back.toString()}`, 303)
  })
}

async function perform(
  control: FakeStripeControl,
  name: string,
  input: unknown,
): Promise<{ notice: string } | { problem: string }> {
  const command = COMMANDS.get(name)
  if (command === undefined) return { problem: `There is no command ${name}` }
  try {
    return { notice: `Done: ${name}. ${summary(await command.run(control, input))}` }
  } catch (error) {
    return { problem: describe(error).message }
  }
}

/** The few fields that a person needs from a command's result. */
function summary(result: unknown): string {
  if (typeof result !== 'object' || result === null) return ''
  const shown = ['id', 'status', 'payment_status', 'secretKey', 'secret', 'now']
  const fields = Object.entries(result).filter(([key]) => shown.includes(key))
  return fields.map(([key, value]) => `${key}: ${String(value)}`).join(', ')
}

/** A form sends its empty fields too; they mean "not given". */
function withoutBlanks(value: unknown): unknown {
  if (Array.isArray(value)) {
    const kept = value.map(withoutBlanks).filter((item) => item !== undefined)
    return kept.length > 0 ? kept : undefined
  }
  if (typeof value !== 'object' || value === null) return value === '' ? undefined : value
  const entries = Object.entries(value).map(([key, item]) => [key, withoutBlanks(item)] as const)
  return Object.fromEntries(entries.filter(([, item]) => item !== undefined))
}
