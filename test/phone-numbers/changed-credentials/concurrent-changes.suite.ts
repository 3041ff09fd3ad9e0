/** Several changes of the credentials of one account at the same time. */
import { describe, expect, it } from 'vitest';
import { telephonyConfigSync } from '../../../src/phone-numbers/sync.ts';
import { runSync } from '../../../src/sync/service.ts';
import { until } from '../../support/wait.ts';
import { codes, find, imported, importOf, TWILIO } from '../support.ts';
import {
  BAD_TOKEN,
  config,
  failWrites,
  NEW_TOKEN,
  prefixAtUltravox,
  server,
  storedToken,
  update,
} from './server.ts';

export function concurrentChangesSuite(): void {
  describe('a carrier account whose credentials a request is changing', () => {
    const WRITE = { method: 'PATCH', path: 'telephony_configs', count: 1 } as const;
    const SLOW = { kind: 'slow', ms: 2_000, ...WRITE } as const;
    const REFUSED = { kind: 'status', status: 400, ...WRITE } as const;
    const INVALID_STATE = ['INVALID_STATE provider.twilio'];
    const ULTRAVOX_REFUSED = ['ULTRAVOX_REFUSED provider.twilio'];

    /** Waits until `count` writes of an account, made since, have reached Ultravox, which has not answered the last one. */
    function writes(method = 'PATCH') {
      const all = () => server.simulator.requests().filter((one) => one.method === method).length;
      const before = all();
      return (count: number) => until(`write ${count}`, () => all() >= before + count);
    }

    async function expectStored(token: string) {
      expect(await storedToken()).toBe(token);
      expect(await config()).toMatchObject({ previousCredentials: null, status: 'ACTIVE' });
      const { revision, syncedRevision } = await config();
      expect(syncedRevision).toBe(revision);
      expect(await prefixAtUltravox()).toBe(token.slice(0, 4));
    }

    it('refuses the same credentials until Ultravox has refused the first ones', async () => {
      const { id } = await imported(server.client, { twilio: TWILIO });
      server.simulator.setFaults([SLOW, REFUSED]);
      const reached = writes();
      const first = update(id, { twilio: BAD_TOKEN });
      await reached(1);
      const second = await update(id, { twilio: BAD_TOKEN }, { name: 'Desk' });
      expect(codes(second)).toEqual(INVALID_STATE);
      expect(Date.parse(second.userErrors[0].retryAt)).toBeGreaterThan(Date.now());
      expect(codes(await importOf(server.client, { twilio: BAD_TOKEN }))).toEqual(INVALID_STATE);
      const without = await imported(server.client, { twilio: {} });
      expect(codes(await first)).toEqual(ULTRAVOX_REFUSED);
      await expectStored(TWILIO.authToken);
      expect(await find(server.client, without.id)).toMatchObject({ status: 'ACTIVE' });
      expect((await find(server.client, id)).name).toBeNull();

      failWrites(REFUSED);
      expect(codes(await update(id, { twilio: BAD_TOKEN }))).toEqual(ULTRAVOX_REFUSED);
      await expectStored(TWILIO.authToken);
    });

    it('refuses other credentials, and keeps those that Ultravox accepts', async () => {
      const { id } = await imported(server.client, { twilio: TWILIO });
      server.simulator.setFaults([SLOW]);
      const reached = writes();
      const first = importOf(server.client, { twilio: NEW_TOKEN });
      await reached(1);
      failWrites(REFUSED);
      expect(codes(await update(id, { twilio: BAD_TOKEN }))).toEqual(INVALID_STATE);
      expect(codes(await first)).toEqual([]);
      await expectStored(NEW_TOKEN.authToken);
      expect(codes(await update(id, { twilio: BAD_TOKEN }))).toEqual(ULTRAVOX_REFUSED);
      await expectStored(NEW_TOKEN.authToken);
    });

    it('refuses other credentials while the earlier ones are restored', async () => {
      const { id } = await imported(server.client, { twilio: TWILIO });
      const reached = writes();
      server.simulator.setFaults([SLOW, REFUSED]);
      const first = importOf(server.client, { twilio: BAD_TOKEN });
      await reached(1);
      server.simulator.setFaults([SLOW]);
      await reached(2);
      failWrites(REFUSED);
      expect(codes(await update(id, { twilio: BAD_TOKEN }))).toEqual(INVALID_STATE);
      expect(codes(await first)).toEqual(ULTRAVOX_REFUSED);
      await expectStored(TWILIO.authToken);
    });

    it('waits for the answer while a job sends earlier credentials again', async () => {
      const { id } = await imported(server.client, { twilio: TWILIO });
      failWrites({ status: 502, method: 'PATCH' });
      expect(codes(await update(id, { twilio: NEW_TOKEN }))).toEqual([]);
      server.simulator.setFaults([SLOW]);
      const reached = writes();
      const job = runSync(server.app, telephonyConfigSync, (await config()).id);
      await reached(1);
      failWrites(REFUSED);
      expect(codes(await update(id, { twilio: BAD_TOKEN }))).toEqual(ULTRAVOX_REFUSED);
      await job;
      await expectStored(NEW_TOKEN.authToken);
    });

    it('imports nothing when Ultravox refuses the first credentials of two imports', async () => {
      const write = { method: 'POST' } as const;
      server.simulator.setFaults([
        { ...SLOW, ...write },
        { ...REFUSED, ...write },
      ]);
      const reached = writes('POST');
      const first = importOf(server.client, { twilio: BAD_TOKEN });
      await reached(1);
      const answers = [await importOf(server.client, { twilio: BAD_TOKEN }), await first];
      expect(answers.map(codes)).toEqual([ULTRAVOX_REFUSED, ULTRAVOX_REFUSED]);
      expect(await server.app.db.telephonyConfig.count()).toBe(0);
      expect(await server.app.db.phoneNumber.count({ where: { releasedAt: null } })).toBe(0);
    });
  });
}
