/** Settings that the benchmark passes to the servers it starts. */

export interface PeerEnvironment {
  databaseUrl: string;
  organizationId: string;
  port: number;
}

export function peerEnvironment(): PeerEnvironment {
  const { DATABASE_URL, ORGANIZATION_ID, PORT } = process.env;
  if (!DATABASE_URL || !ORGANIZATION_ID || !PORT) {
    throw new Error(
      'Start this with `npm run bench`, which sets DATABASE_URL, ORGANIZATION_ID and PORT',
    );
  }
  return { databaseUrl: DATABASE_URL, organizationId: ORGANIZATION_ID, port: Number(PORT) };
}
