/** The agents of a number, and its release. */
import { describe, expect, it } from 'vitest';
import { publicId } from '../../../src/ids.ts';
import { chooseOutboundNumber } from '../../../src/phone-numbers/service.ts';
import { sessionOf, untilBlocked } from '../../support/locks.ts';
import { codes, done, find, newAgent, newCall, run } from '../support.ts';
import { importSip, other, server, uuidOf } from './server.ts';

export function assignmentSuite(): void {
  describe('assignPhoneNumber and unassignPhoneNumber', () => {
    it('set, replace and clear the agent of each direction', async () => {
      const { client, organizationId } = server;
      const [one, two] = [
        await newAgent(server, organizationId),
        await newAgent(server, organizationId),
      ];
      const { id } = await importSip();
      const assign = (agentId: string, direction: string) =>
        done(client, 'assignPhoneNumber', { id, agentId, direction });

      expect(await assign(one.id, 'INBOUND')).toMatchObject({
        inboundAgent: { id: one.id },
        outboundAgent: null,
        inboundAddress: `sip:agent_${one.remoteId}@sim.sip.ultravox.invalid`,
      });
      await assign(one.id, 'OUTBOUND');
      expect(await assign(two.id, 'INBOUND')).toMatchObject({
        inboundAgent: { id: two.id },
        outboundAgent: { id: one.id },
      });
      const agents = await client.send(
        `query($one: ID!, $two: ID!) {
        one: node(id: $one) { ...numbers } two: node(id: $two) { ...numbers }
      }
      fragment numbers on Agent { inboundPhoneNumbers { id } outboundPhoneNumbers { id phoneNumber } }`,
        { one: one.id, two: two.id },
      );
      expect(agents.data.one).toMatchObject({
        inboundPhoneNumbers: [],
        outboundPhoneNumbers: [{ id }],
      });
      expect(agents.data.two).toMatchObject({
        inboundPhoneNumbers: [{ id }],
        outboundPhoneNumbers: [],
      });

      const unassign = { id, direction: 'INBOUND' };
      expect(await done(client, 'unassignPhoneNumber', unassign)).toMatchObject({
        inboundAgent: null,
        inboundAddress: null,
        outboundAgent: { id: one.id },
      });
      expect((await done(client, 'unassignPhoneNumber', unassign)).inboundAgent).toBeNull();
    });

    it('return no inbound address until the agent is at Ultravox', async () => {
      const agent = await newAgent(server, server.organizationId, { atUltravox: false });
      const { id } = await importSip();
      const input = { id, agentId: agent.id, direction: 'INBOUND' };
      expect(await done(server.client, 'assignPhoneNumber', input)).toMatchObject({
        inboundAgent: { id: agent.id },
        inboundAddress: null,
      });
    });

    it('reject unknown agents and numbers, deleted agents and ids of other types', async () => {
      const own = await importSip();
      const theirs = await importSip(other.client);
      const theirAgent = await newAgent(server, other.id);
      const deleted = await newAgent(server, server.organizationId);
      await server.app.db.agent.update({
        where: { id: deleted.uuid },
        data: { deletedAt: new Date() },
      });
      const assign = async (id: string, agentId: string) =>
        codes(await run(server.client, 'assignPhoneNumber', { id, agentId, direction: 'INBOUND' }));
      expect(await assign(theirs.id, theirAgent.id)).toEqual(['NOT_FOUND agentId', 'NOT_FOUND id']);
      expect(await assign(own.id, deleted.id)).toEqual(['NOT_FOUND agentId']);
      expect(await assign('12', own.id)).toEqual(['INVALID_ID agentId', 'INVALID_ID id']);
      for (const mutation of ['updatePhoneNumber', 'unassignPhoneNumber', 'releasePhoneNumber']) {
        const more = {
          updatePhoneNumber: { name: 'Mine' },
          unassignPhoneNumber: { direction: 'INBOUND' },
        };
        const input = { id: theirs.id, ...more[mutation as keyof typeof more] };
        expect(codes(await run(server.client, mutation, input))).toEqual(['NOT_FOUND id']);
      }
      expect(await find(server.client, theirs.id)).toBeNull();
      expect(await find(other.client, theirs.id)).toEqual(theirs);
      const node = await server.client.send('query($id: ID!) { node(id: $id) { id } }', {
        id: theirs.id,
      });
      expect(node).toMatchObject({ data: { node: null } });
      expect(node.errors).toBeUndefined();
    });
  });

  describe('releasePhoneNumber', () => {
    it('removes the number from lists and agents, and lets it be imported again', async () => {
      const { client, organizationId } = server;
      const agent = await newAgent(server, organizationId);
      const number = await importSip();
      const { id } = number;
      await done(client, 'assignPhoneNumber', { id, agentId: agent.id, direction: 'OUTBOUND' });
      const released = await done(client, 'releasePhoneNumber', { id });
      expect(released).toMatchObject({ id, outboundAgent: null, status: null });
      expect(released.releasedAt).not.toBeNull();
      const where = { id: uuidOf(id), credentials: { not: null } };
      expect(await server.app.db.phoneNumber.count({ where })).toBe(0);
      expect(await find(client, id)).toBeNull();
      const list = await client.send(
        'query($search: String) { phoneNumbers(filter: { search: $search }) { totalCount nodes { id } } }',
        { search: number.phoneNumber },
      );
      expect(list.data.phoneNumbers).toEqual({ totalCount: 0, nodes: [] });
      expect(await done(client, 'releasePhoneNumber', { id })).toEqual(released);
      const rename = await run(client, 'updatePhoneNumber', { id, name: 'Late' });
      expect(codes(rename)).toEqual(['NOT_FOUND id']);
      const anew = await importSip(client, { phoneNumber: number.phoneNumber });
      expect(anew.id).not.toBe(id);
    });

    it('rejects a number with calls that have not ended', async () => {
      const { client, organizationId } = server;
      const agent = await newAgent(server, organizationId);
      const { id } = await importSip();
      const call = await newCall(server, organizationId, {
        agentId: agent.uuid,
        phoneNumberId: uuidOf(id),
        ended: false,
      });
      expect(codes(await run(client, 'releasePhoneNumber', { id }))).toEqual(['INVALID_STATE id']);
      expect(await find(client, id)).toMatchObject({ releasedAt: null });
      await server.app.db.call.update({ where: { id: call.id }, data: { endedAt: new Date() } });
      expect((await done(client, 'releasePhoneNumber', { id })).releasedAt).not.toBeNull();
    });

    it('keeps the number visible to a token for one of its calls', async () => {
      const { client, organizationId } = server;
      const agent = await newAgent(server, organizationId);
      const [number, another] = [await importSip(), await importSip()];
      const call = await newCall(server, organizationId, {
        agentId: agent.uuid,
        phoneNumberId: uuidOf(number.id),
      });
      await done(client, 'releasePhoneNumber', { id: number.id });
      const made = await client.send(
        'mutation($callId: ID) { createAccessToken(input: { callId: $callId }) { accessToken } }',
        { callId: publicId('Call', call.id) },
      );
      const read = (id: string) =>
        client.send(
          'query($id: ID!) { node(id: $id) { ... on PhoneNumber { phoneNumber status } } }',
          { id },
          { headers: { authorization: `Bearer ${made.data.createAccessToken.accessToken}` } },
        );
      expect(await read(number.id)).toMatchObject({
        data: { node: { phoneNumber: number.phoneNumber, status: null } },
      });
      expect(await read(another.id)).toMatchObject({ data: { node: null } });
    });

    it('waits for a call that is being created', async () => {
      const { client, organizationId, app } = server;
      const agent = await newAgent(server, organizationId);
      const { id } = await importSip();
      await done(client, 'assignPhoneNumber', { id, agentId: agent.id, direction: 'OUTBOUND' });
      const release = await app.db.$transaction(async (tx) => {
        const chosen = await chooseOutboundNumber(tx, { organizationId }, agent.uuid);
        const answer = run(client, 'releasePhoneNumber', { id });
        const statement = 'SELECT 1 FROM phone_numbers WHERE id%FOR UPDATE';
        await untilBlocked(app.db, { holder: await sessionOf(tx), statement });
        await newCall({ app: { ...app, db: tx as typeof app.db } }, organizationId, {
          agentId: agent.uuid,
          phoneNumberId: chosen.id,
          ended: false,
        });
        return { answer };
      });
      expect(codes(await release.answer)).toEqual(['INVALID_STATE id']);
    });
  });
}
