/** Generates load from a separate process. */
import { run, type Server } from './processes.ts';

/** @returns requests per second. @throws Error if a request fails */
export async function requestsPerSecond(
  server: Server,
  {
    headers,
    body,
    seconds,
    connections,
  }: { headers: Record<string, string>; body: string; seconds: number; connections: number },
): Promise<number> {
  const output = await run(
    ['bench/peers/load.ts', `${server.url}/graphql`, String(seconds), String(connections)],
    JSON.stringify({ headers, body }),
  );
  const { perSecond, failed } = JSON.parse(output) as { perSecond: number; failed: number };
  if (failed > 0) throw new Error(`${server.name} failed ${failed} requests`);
  return perSecond;
}
