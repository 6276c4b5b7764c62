import Fastify from 'fastify'
import pg from 'pg'

// The ceiling of our routes: one statement for each request, and none of what a service needs. Its tables
// have no row security and no index but their keys.
const [connectionString = ''] = process.argv.slice(2)

// DATABASE_POOL of the service.
const pool = new pg.Pool({ connectionString, max: 16 })
await pool.query(`
  create table bench_uses (id integer primary key, used integer not null);
  insert into bench_uses select n, 0 from generate_series(0, 19999) as n;
  create table bench_events (id bigint generated always as identity primary key, body bytea not null)`)
await pool.query('vacuum analyze bench_uses')

const app = Fastify()
app.addContentTypeParser('application/webhook', { parseAs: 'buffer' }, (_request, body, done) =>
  done(null, body),
)

app.post<{ Params: { id: string } }>('/uses/:id', async (request, reply) => {
  const { rows } = await pool.query({
    name: 'use',
    text: 'update bench_uses set used = used + 1 where id = $1 returning id, used',
    values: [request.params.id],
  })
  return reply.code(201).send(rows[0])
})

app.post('/events', async (request) => {
  await pool.query({
    name: 'store',
    text: 'insert into bench_events (body) values ($1)',
    values: [request.body],
  })
  return { received: true }
})

process.send?.(await app.listen({ host: '127.0.0.1', port: 0 }))
process.once('disconnect', () => process.exit())
