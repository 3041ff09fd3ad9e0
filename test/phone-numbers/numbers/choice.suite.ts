/** Lists of numbers, and the choice of the number that a call is made from. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { UserInputError } from '../../../src/errors.ts';
import { chooseOutboundNumber, mediumForNumber } from '../../../src/phone-numbers/service.ts';
import type { GraphQLClient } from '../../support/graphql.ts';
import { done, newAgent, newCall, TRUNK } from '../support.ts';
import { importSip, other, server, uuidOf } from './server.ts';

export function choiceSuite(): void {
  describe('phoneNumbers', () => {
    let lister: { client: GraphQLClient; id: string };
    let agent: { id: string };
    beforeAll(async () => {
      lister = await server.newOrganization();
      agent = await newAgent(server, lister.id);
      const names = ['Berlin 100%', 'Amsterdam', null];
      for (const [index, name] of names.entries()) {
        const phoneNumber = `+1212555010${index}`;
        const number = await importSip(lister.client, { phoneNumber, ...(name ? { name } : {}) });
        if (index === 0) {
          const input = { id: number.id, agentId: agent.id, direction: 'OUTBOUND' };
          await done(lister.client, 'assignPhoneNumber', input);
        }
      }
    });

    const list = async (args: string) => {
      const answer = await lister.client.send(
        `{ phoneNumbers${args} { totalCount nodes { phoneNumber } pageInfo { hasNextPage endCursor } } }`,
      );
      if (answer.errors) throw new Error(JSON.stringify(answer.errors));
      const { nodes, totalCount, pageInfo } = answer.data.phoneNumbers;
      const last = nodes.map((node: { phoneNumber: string }) => Number(node.phoneNumber.slice(-1)));
      return { last, totalCount, pageInfo };
    };

    it('sorts newest first by default', async () => {
      expect(await list('')).toMatchObject({ last: [2, 1, 0], totalCount: 3 });
      expect((await list('(orderBy: { field: PHONE_NUMBER, direction: ASC })')).last).toEqual([
        0, 1, 2,
      ]);
      expect((await list('(orderBy: { field: NAME, direction: ASC })')).last).toEqual([1, 0, 2]);
    });

    it('continues where a page ended', async () => {
      const first = await list('(first: 2)');
      expect(first).toMatchObject({ last: [2, 1], totalCount: 3, pageInfo: { hasNextPage: true } });
      expect(await list(`(first: 2, after: "${first.pageInfo.endCursor}")`)).toMatchObject({
        last: [0],
        pageInfo: { hasNextPage: false },
      });
      await expect(list('(first: 101)')).rejects.toThrow('BAD_USER_INPUT');
    });

    it.each([
      ['search: "AMST"', [1]],
      ['search: "100%"', [0]],
      ['search: "%"', [0]],
      ['search: "(212) 555-0102"', [2]],
      ['search: "+1 212"', [2, 1, 0]],
      ['search: "nothing"', []],
      ['provider: SIP', [2, 1, 0]],
      ['provider: TWILIO', []],
      ['assigned: true', [0]],
      ['assigned: false', [2, 1]],
      ['assigned: false, search: "Amsterdam"', [1]],
    ])('filters by { %s }', async (filter, expected) => {
      const found = await list(`(filter: { ${filter} })`);
      expect(found).toMatchObject({ last: expected, totalCount: expected.length });
    });

    it('filters by agent', async () => {
      expect((await list(`(filter: { agentId: "${agent.id}" })`)).last).toEqual([0]);
      await expect(list('(filter: { agentId: "num_1" })')).rejects.toThrow('BAD_USER_INPUT');
    });
  });

  describe('chooseOutboundNumber', () => {
    async function agentWith(count: number) {
      const agent = await newAgent(server, server.organizationId);
      const numbers: { id: string; phoneNumber: string }[] = [];
      for (let index = 0; index < count; index += 1) {
        const number = await importSip();
        await done(server.client, 'assignPhoneNumber', {
          id: number.id,
          agentId: agent.id,
          direction: 'OUTBOUND',
        });
        numbers.push(number);
      }
      return { agent, numbers };
    }
    const choose = (agentId: string, from?: string) =>
      chooseOutboundNumber(server.app.db, { organizationId: server.organizationId }, agentId, {
        from,
      });
    const refusal = (promise: Promise<unknown>) =>
      promise.then(
        () => null,
        (error: unknown) => (error as UserInputError).problems[0],
      );

    it('chooses the least recently used number, unused ones first', async () => {
      const { agent, numbers } = await agentWith(3);
      const used = (index: number, minutesAgo: number) =>
        newCall(server, server.organizationId, {
          agentId: agent.uuid,
          phoneNumberId: uuidOf(numbers[index]!.id),
          createdAt: new Date(Date.now() - minutesAgo * 60_000),
        });
      await used(0, 30);
      await used(0, 1);
      await used(1, 5);
      expect((await choose(agent.uuid)).phoneNumber).toBe(numbers[2]!.phoneNumber);
      await used(2, 0);
      expect((await choose(agent.uuid)).phoneNumber).toBe(numbers[1]!.phoneNumber);
      expect((await choose(agent.uuid, numbers[0]!.phoneNumber)).phoneNumber).toBe(
        numbers[0]!.phoneNumber,
      );
    });

    it('rejects an agent without numbers and a caller ID of another agent', async () => {
      const { agent, numbers } = await agentWith(1);
      const without = await newAgent(server, server.organizationId);
      expect(await refusal(choose(without.uuid, numbers[0]!.phoneNumber))).toMatchObject({
        code: 'NO_PHONE_NUMBER_CONFIGURED',
      });
      const elsewhere = (await agentWith(1)).numbers[0]!;
      expect(await refusal(choose(agent.uuid, elsewhere.phoneNumber))).toMatchObject({
        code: 'PHONE_NUMBER_NOT_ASSIGNED',
        path: ['fromNumber'],
      });
      const stranger = chooseOutboundNumber(
        server.app.db,
        { organizationId: other.id },
        agent.uuid,
      );
      expect(await refusal(stranger)).toMatchObject({ code: 'NO_PHONE_NUMBER_CONFIGURED' });
      await done(server.client, 'releasePhoneNumber', { id: numbers[0]!.id });
      expect(await refusal(choose(agent.uuid))).toMatchObject({
        code: 'NO_PHONE_NUMBER_CONFIGURED',
      });
    });

    it('returns the medium with the trunk and credentials of the number', async () => {
      const { agent } = await agentWith(1);
      const number = await choose(agent.uuid);
      expect(mediumForNumber(server.app, number, '+4915112345678')).toEqual({
        sip: {
          outgoing: {
            to: `sip:+4915112345678@${TRUNK.server}`,
            from: number.phoneNumber,
            username: TRUNK.username,
            password: TRUNK.password,
          },
        },
      });
    });
  });
}
