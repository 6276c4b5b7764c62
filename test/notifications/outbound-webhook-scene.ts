import {
  createPostWebhook,
  type DeliverDeps,
  deliverWebhook,
} from '../../src/notifications/deliver-webhook.ts'
import { createEncryption } from '../../src/shared/cryptography.ts'
import { createLogger } from '../../src/shared/logger.ts'
import { type Body, TEST_ENCRYPTION_KEY, type TestApp, useTestApp } from '../support/test-app.ts'

export type Endpoint = Body & { id: string; secret: string }

export type DeliveryBody = Body & {
  id: string
  state: string
  attempts: number
  next_attempt_at: string | null
  last_error: string | null
  last_status: number | null
  payload: { type: string; data: Body }
}

type Conference = { path: string; conference: string }

type WaitingJob = { id: string; endpoint: string; delivery: string; inSeconds: number }

export type OutgoingScene = TestApp & {
  readonly log: string[]
  addEndpoint(path: string, body: Body): Promise<Endpoint>
  deliveries(path: string, endpoint: string, query?: string): Promise<DeliveryBody[]>
  /** The waiting delivery jobs of a conference. */
  jobs(conference: string): Promise<WaitingJob[]>
  /** One attempt of all waiting deliveries, like a worker. */
  send(shop: Conference, changes?: Partial<DeliverDeps>): Promise<number>
}

/** The service with a manual worker for webhooks. Addresses of this machine are allowed. */
export function useOutgoingScene(): OutgoingScene {
  const app = useTestApp({ env: { WEBHOOKS_ALLOW_LOOPBACK: 'true' } })
  const log: string[] = []
  const logger = createLogger('trace', { write: (line) => void log.push(line) })
  const own = {
    log,
    async addEndpoint(path: string, body: Body): Promise<Endpoint> {
      const answer = await app.request<Endpoint>('POST', `${path}/webhook-endpoints`, { body })
      if (answer.status !== 201) throw new Error(JSON.stringify(answer.body))
      return answer.body
    },
    async deliveries(path: string, endpoint: string, query = ''): Promise<DeliveryBody[]> {
      const url = `${path}/webhook-endpoints/${endpoint}/deliveries?limit=100${query}`
      const { body } = await app.request<{ data: DeliveryBody[] }>('GET', url)
      return body.data
    },
    jobs: (conference: string) =>
      app.rows<WaitingJob>(
        `select id, payload->>'endpoint_id' as endpoint, payload->>'delivery_id' as delivery,
           extract(epoch from run_at - now())::float as "inSeconds"
         from graphile_worker._private_jobs
         where payload->>'conference_id' = $1 and key like 'deliver_webhook:%'
         order by id`,
        [conference],
      ),
    async send({ conference }: Conference, changes: Partial<DeliverDeps> = {}): Promise<number> {
      const jobs = await own.jobs(conference)
      const deps = {
        db: app.db,
        encryption: createEncryption(TEST_ENCRYPTION_KEY),
        logger,
        postWebhook: createPostWebhook({ allowLoopback: true }),
        ...changes,
      }
      for (const { id, endpoint: endpointId, delivery: deliveryId } of jobs) {
        await app.rows('delete from graphile_worker._private_jobs where id = $1', [id])
        await deliverWebhook(
          deps,
          { conferenceId: conference, endpointId, deliveryId },
          new AbortController().signal,
        )
      }
      return jobs.length
    },
  }
  // These must be getters, because the parts do not exist yet.
  return Object.defineProperties(own, Object.getOwnPropertyDescriptors(app)) as OutgoingScene
}
