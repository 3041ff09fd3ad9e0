/** One round of load: `node load.ts <url> <seconds> <connections>`, with headers and body as JSON on stdin. */
import autocannon from 'autocannon';

const [url = '', seconds = '3', connections = '20'] = process.argv.slice(2);
const chunks: Buffer[] = [];
for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
const { headers, body } = JSON.parse(Buffer.concat(chunks).toString()) as {
  headers: Record<string, string>;
  body: string;
};
const result = await autocannon({
  url,
  method: 'POST',
  headers,
  body,
  duration: Number(seconds),
  connections: Number(connections),
});
process.stdout.write(
  JSON.stringify({
    perSecond: result['2xx'] / result.duration,
    failed: result.non2xx + result.errors + result.timeouts,
  }),
);
