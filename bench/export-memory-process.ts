import { connect } from '../src/db/connect.ts'
import { readFrom } from '../src/db/read-replica.ts'
import { exportVouchers } from '../src/vouchers/export-vouchers.ts'

// In a new process, because the memory of an earlier export would be used again. Sends by how many MB the
// process grew.
const [connectionString = '', conferenceId = '', batchId = ''] = process.argv.slice(2)
const db = connect(connectionString, { max: 1 })
await db.raw('select 1')
const before = process.memoryUsage.rss()
let highest = before
for await (const _ of exportVouchers(readFrom(db), conferenceId, batchId, 'csv')) {
  highest = Math.max(highest, process.memoryUsage.rss())
}
await db.destroy()
process.send?.((highest - before) / 2 ** 20)
process.once('disconnect', () => process.exit())
