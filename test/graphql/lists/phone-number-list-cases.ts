/** The lists of phone numbers of the organization and of an agent. */
import { publicId } from '../../../src/ids.ts';
import { newId } from '../../../src/infra/ids.ts';
import { at, type ListCase, numberOf, uuid, word } from './list-cases.ts';

export const PHONE_NUMBER_CASES: ListCase[] = [
  'Query.phoneNumbers',
  'Agent.inboundNumbers',
  'Agent.outboundNumbers',
].map((list) => ({
  list,
  sort: ['CREATED_AT', 'NAME', 'PHONE_NUMBER', 'UPDATED_AT'],
  async fill({ app, organizationId, numberId, agentId }, rows) {
    await app.db.phoneNumber.deleteMany({ where: { id: { not: numberId } } });
    await app.db.phoneNumber.createMany({
      data: rows.map(({ a, b }, index) => ({
        id: newId(),
        organizationId,
        phoneNumber: numberOf(a, index),
        name: b === 0 ? null : word(b),
        provider: 'SIP' as const,
        inboundAgentId: agentId,
        outboundAgentId: agentId,
        createdAt: at(a),
        updatedAt: at(b),
      })),
    });
    return publicId('Agent', agentId);
  },
  isFixed: ({ numberId }, id) => uuid(id) === numberId,
  remove: ({ db }, id) =>
    db.phoneNumber.update({ where: { id: uuid(id) }, data: { releasedAt: new Date() } }),
  move: ({ db }, id, { a, b }) =>
    db.phoneNumber.update({
      where: { id: uuid(id) },
      data: { createdAt: at(a), name: b === 0 ? null : word(b), updatedAt: at(b) },
    }),
}));
