/** Analyzing calls again on request. */
import { afterEach, describe, expect, it } from 'vitest';
import { dataOf, dial, steered, uuidOf } from '../calls/support.ts';
import { sessionOf, untilBlocked } from '../support/locks.ts';
import { until } from '../support/wait.ts';
import { analyze, analyzed, caller, read, server, withModel } from './server.ts';

export function requestsSuite(): void {
  describe('analyzeCall', () => {
    it('refuses a call that was not answered, that is unknown, and one of somebody else', async () => {
      const { id } = await dial(caller, steered('0001'));
      await analyzed(id, 'SKIPPED');
      expect((await analyze(id)).userErrors).toMatchObject([
        { code: 'INVALID_STATE', path: ['id'] },
      ]);
      const stranger = await server.newOrganization();
      const answer = await stranger.client.send(
        'mutation ($id: ID!) { analyzeCall(input: { id: $id }) { call { id } userErrors { code } } }',
        { id },
      );
      expect(dataOf(answer).analyzeCall).toEqual({
        call: null,
        userErrors: [{ code: 'NOT_FOUND' }],
      });
    });
  });

  describe('analyzeCall of a call that is being deleted', () => {
    it('finds no call, and leaves nothing to do', async () => {
      const { id } = await analyzed((await dial(caller)).id, 'DONE');
      const callId = uuidOf(id);
      const { db } = server.app;
      const analyzing = await db.$transaction(async (tx) => {
        await tx.postCallStep.deleteMany({ where: { callId } });
        await tx.call.update({ where: { id: callId }, data: { deletedAt: new Date() } });
        const answer = analyze(id);
        await untilBlocked(db, { holder: await sessionOf(tx), statement: '%FROM calls%' });
        return { answer };
      });
      expect((await analyzing.answer).userErrors).toMatchObject([{ code: 'NOT_FOUND' }]);
      expect(await db.postCallStep.count({ where: { callId } })).toBe(0);
    });
  });

  describe('analyzeCalls', () => {
    it('and analyzeCall leave the verdict on a call whose transcript has expired', async () => {
      const { id } = await analyzed((await dial(caller)).id, 'DONE');
      await server.app.db.callTranscript.update({
        where: { callId: uuidOf(id) },
        data: { expiredAt: new Date() },
      });
      expect((await analyze(id)).userErrors).toMatchObject([
        { code: 'INVALID_STATE', path: ['id'] },
      ]);
      const many = 'mutation { analyzeCalls(input: { filter: {} }) { callCount } }';
      dataOf(await caller.client.send(many));
      const waiting = '{ calls(filter: { analysisStatus: PENDING }) { totalCount } }';
      await until(
        'the others',
        async () => dataOf(await caller.client.send(waiting)).calls.totalCount === 0,
      );
      expect(await read(id)).toMatchObject({
        analysis: { status: 'DONE' },
        outcome: { success: true },
      });
    });

    it('analyzes the calls that match', async () => {
      const { id } = await withModel('misfit', async () =>
        analyzed((await dial(caller)).id, 'FAILED'),
      );
      const answer = await caller.client.send(
        'mutation { analyzeCalls(input: { filter: { analysisStatus: FAILED } }) { callCount userErrors { code } } }',
      );
      const { callCount, userErrors } = dataOf(answer).analyzeCalls;
      expect(userErrors).toEqual([]);
      expect(callCount).toBeGreaterThan(0);
      await analyzed(id, 'DONE');
      const left = '{ calls(filter: { analysisStatus: FAILED }) { totalCount } }';
      await until(
        'all of them',
        async () => dataOf(await caller.client.send(left)).calls.totalCount === 0,
      );
    });
  });

  describe('analyzeCalls of an organization with many calls that wait', () => {
    /** Adds waiting calls, which need not exist, due in a year. */
    async function addWaiting(count: number): Promise<void> {
      const { db } = server.app;
      await db.$transaction([
        db.$executeRaw`SET LOCAL session_replication_role = replica`,
        db.$executeRaw`
        INSERT INTO post_call_steps (call_id, organization_id, kind, next_attempt_at)
        SELECT gen_random_uuid(), ${server.organizationId}::uuid, 'ANALYSIS', now() + interval '1 year'
        FROM generate_series(1, ${count}::int)`,
      ]);
    }
    afterEach(async () => {
      await server.app.db
        .$executeRaw`DELETE FROM post_call_steps WHERE next_attempt_at > now() + interval '300 days'`;
    });

    const analyzeAll = async (filter: object = {}) => {
      const mutation = `mutation ($filter: CallFilter!) {
      analyzeCalls(input: { filter: $filter }) { callCount userErrors { code message } } }`;
      return dataOf(await caller.client.send(mutation, { filter })).analyzeCalls;
    };

    it('is refused with the number, and changes nothing', async () => {
      const { id } = await dial(caller);
      await analyzed(id, 'DONE');
      await addWaiting(20_000);
      expect((await analyzeAll()).userErrors).toMatchObject([
        { code: 'LIMIT_EXCEEDED', message: expect.stringContaining('20,000 wait') },
      ]);
      expect(await analyzed(id, 'DONE')).toMatchObject({ outcome: { success: true } });
    });

    it('does not exceed the maximum together with another one', async () => {
      const [one, other] = [{ side: 'one' }, { side: 'other' }];
      const { id } = await dial(caller, undefined, { metadata: one });
      for (const call of [{ id }, await dial(caller, undefined, { metadata: other })]) {
        await analyzed(call.id, 'DONE');
      }
      await addWaiting(19_999);
      const answers = await server.app.db.$transaction(async (tx) => {
        await tx.$queryRaw`SELECT 1 FROM calls WHERE id = ${uuidOf(id)}::uuid FOR UPDATE`;
        const blocked = { holder: await sessionOf(tx), statement: '%' };
        const first = analyzeAll({ metadata: one });
        await untilBlocked(server.app.db, { ...blocked, statement: '%FOR NO KEY UPDATE%' });
        const second = analyzeAll({ metadata: other });
        await Promise.race([second, untilBlocked(server.app.db, { ...blocked, count: 2 })]);
        return [first, second];
      });
      const [added, refused] = await Promise.all(answers);
      expect(added).toEqual({ callCount: 1, userErrors: [] });
      expect(refused).toMatchObject({ callCount: null, userErrors: [{ code: 'LIMIT_EXCEEDED' }] });
      await analyzed(id, 'DONE');
    });
  });
}
