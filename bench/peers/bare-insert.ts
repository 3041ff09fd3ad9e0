/** Baseline for incoming webhooks: one INSERT of the body per request, behind `node:http`. */
import { createServer } from 'node:http';
import pg from 'pg';

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 20 });
await pool.query(
  'CREATE TABLE IF NOT EXISTS bare_webhooks (id bigserial PRIMARY KEY, body jsonb NOT NULL)',
);

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    pool
      .query({
        name: 'insert',
        text: 'INSERT INTO bare_webhooks (body) VALUES ($1::jsonb)',
        values: [Buffer.concat(chunks).toString()],
      })
      .then(() => response.writeHead(204).end())
      .catch((error: unknown) => response.writeHead(500).end(String(error)));
  });
});
server.listen(Number(process.env.PORT), '127.0.0.1', () => process.stdout.write('ready\n'));
