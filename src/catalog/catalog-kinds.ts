import type { IdKind } from '../shared/ids.ts'
import type { CatalogKind } from './catalog-item.ts'

type KindTraits = {
  table: 'ticket_types' | 'add_ons'
  idKind: IdKind
  /** Last part of the collection's path. */
  path: string
  /** In messages for people. */
  noun: string
  /** In operation ids and component names of openapi.yaml. */
  title: string
}

/** Ticket types and add-ons differ in nothing but this. */
export const CATALOG_KINDS: Record<CatalogKind, KindTraits> = {
  ticket_type: {
    table: 'ticket_types',
    idKind: 'ticketType',
    path: 'ticket-types',
    noun: 'ticket type',
    title: 'TicketType',
  },
  add_on: {
    table: 'add_ons',
    idKind: 'addOn',
    path: 'add-ons',
    noun: 'add-on',
    title: 'AddOn',
  },
}
