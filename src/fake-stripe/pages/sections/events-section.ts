import type { Account } from '../../core/account.ts'
import { events } from '../../core/emit-event.ts'
import type { World } from '../../core/world.ts'
import type { Delivery } from '../../webhooks/delivery.ts'
import { code, commandButton, row, SHOWN_ROWS, section, state, time } from '../dashboard-parts.ts'
import { type Html, html } from '../html.ts'

export function eventsSection(world: World, account: Account): Html {
  const newest = account.rows(events).page({ limit: SHOWN_ROWS })?.data ?? []
  const deliveries = byEvent(world.webhooks.list(({ account: owner }) => owner === account.id))
  const rows = newest.map((event) =>
    row(
      time(event.created),
      code(event.type),
      code(event.id),
      event.pending_webhooks,
      (deliveries.get(event.id) ?? []).map(deliveryCell),
      commandButton(account.id, 'deliver', 'Resend', { event: event.id }),
    ),
  )
  const flow = world.webhooks.paused
    ? commandButton(account.id, 'resume', 'Resume deliveries')
    : commandButton(account.id, 'pause', 'Pause deliveries')
  return section(
    'events',
    'Events',
    world.webhooks.paused ? 'Deliveries are paused; Resend still sends.' : 'Newest first',
    ['Created', 'Type', 'Event', 'Pending', 'Deliveries', 'Do'],
    rows,
    html`<p>${flow}</p>`,
  )
}

function byEvent(deliveries: readonly Delivery[]): Map<string, Delivery[]> {
  const groups = new Map<string, Delivery[]>()
  for (const delivery of deliveries)
    groups.set(delivery.event, [...(groups.get(delivery.event) ?? []), delivery])
  return groups
}

function deliveryCell(delivery: Delivery): Html {
  const last = delivery.attempts.at(-1)
  const outcome = last === undefined ? 'not tried' : (last.error ?? `HTTP ${last.status}`)
  return html`<div>${state(delivery.state)} ${delivery.attempts.length}× ${outcome}<br>
<span class="soft">${delivery.url}</span></div>`
}
