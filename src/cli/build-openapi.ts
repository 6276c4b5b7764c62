import { Document, isScalar, visit } from 'yaml'
import { buildApp } from '../app.ts'
import { loadConfig } from '../config.ts'
import { connect } from '../db/connect.ts'
import { createEncryption } from '../shared/cryptography.ts'
import { createLogger } from '../shared/logger.ts'
import { systemClock } from '../shared/time.ts'

const HEADER = '# Generated from the routes by `npm run openapi`. Do not edit.\n'

/** A dependency that the routes only use once they are called. */
function uncalled<T extends object>(): T {
  return {} as T
}

/**
 * openapi.yaml as the routes stand now. Composes the service as main.ts does, but asks nothing:
 * no database, no Stripe, no port, no setting of the environment.
 */
export async function buildOpenapi(): Promise<string> {
  const app = await buildApp({
    // Where `npm start` and `npm run demo` listen.
    config: loadConfig({ PUBLIC_URL: 'http://127.0.0.1:3000' }),
    db: connect('postgres://127.0.0.1:1/none'),
    livenessLock: uncalled(),
    encryption: createEncryption(Buffer.alloc(32)),
    operatorApiKey: 'no-key-of-any-service',
    logger: createLogger('silent'),
    stripeAccounts: uncalled(),
    gateway: uncalled(),
    clients: uncalled(),
    clock: systemClock,
  })
  await app.ready()
  const document = app.swagger()
  await app.close()
  return HEADER + toYaml(document)
}

/**
 * Lists of plain values, such as `required`, take one line instead of one each. What a reader of YAML
 * 1.1 would take for a date or a boolean is quoted.
 */
function toYaml(value: unknown): string {
  const document = new Document(value, { aliasDuplicateObjects: false, compat: 'yaml-1.1' })
  visit(document, {
    Seq(_key, list) {
      if (list.items.every(isScalar)) list.flow = true
    },
  })
  return document.toString({ lineWidth: 100, blockQuote: 'literal', flowCollectionPadding: false })
}
