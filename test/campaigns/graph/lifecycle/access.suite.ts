/** Who may read, change and follow a campaign. */
import { describe, expect, it } from 'vitest';
import { publicId } from '../../../../src/ids.ts';
import { dataOf, uuidOf } from '../../../calls/support.ts';
import { prepareCaller, runMutation } from '../../../support/calling.ts';
import { createClient } from '../../../support/graphql.ts';
import { recordStatements } from '../../../support/queries.ts';
import { openSocket } from '../../../support/subscribe.ts';
import { until } from '../../../support/wait.ts';
import { problemsOf } from '../../campaign-fixture.ts';
import { done, people, run } from '../graph-support.ts';
import {
  caller,
  client,
  contactIds,
  contactsOf,
  draft,
  folderId,
  inStatus,
  numberId,
  server,
} from './server.ts';

const FORECAST =
  'query ($input: CampaignForecastInput!) { campaignForecast(input: $input) { calls } }';

export function accessSuite(): void {
  describe('access to campaigns', () => {
    it('is denied to another organization, which cannot use its agents, numbers or contacts either', async () => {
      const other = (await server.newOrganization()).client;
      const own = await prepareCaller(other);
      const id = await inStatus('SCHEDULED');
      const before = await contactsOf(id);
      const create = async (input: object) =>
        problemsOf(
          await run(other, 'createCampaign', { name: 'Mine', agentId: own.agentId, ...input }),
        );
      expect(await create({ agentId: caller.agentId })).toEqual(['NOT_FOUND agentId']);
      expect(await create({ phoneNumberIds: [numberId] })).toEqual(['NOT_FOUND phoneNumberIds.0']);
      expect(await create({ contactFolderId: folderId })).toEqual(['NOT_FOUND contactFolderId']);
      expect(await create({ contactIds: contactIds.slice(0, 1) })).toEqual([
        'NOT_FOUND contactIds.0',
      ]);
      for (const name of [
        'scheduleCampaign',
        'pauseCampaign',
        'resumeCampaign',
        'cancelCampaign',
      ]) {
        expect(problemsOf(await run(other, name, { id }))).toEqual(['NOT_FOUND id']);
      }
      expect(problemsOf(await run(other, 'updateCampaign', { id, name: 'Mine' }))).toEqual([
        'NOT_FOUND id',
      ]);
      const add = { campaignId: id, contacts: people(1) };
      expect(problemsOf(await run(other, 'addCampaignContacts', add))).toEqual([
        'NOT_FOUND campaignId',
      ]);
      expect(problemsOf(await run(other, 'deleteCampaigns', { ids: [id] }))).toEqual([
        'NOT_FOUND ids.0',
      ]);
      expect(await contactsOf(id)).toEqual(before);

      for (const input of [{ campaignId: id }, { contactFolderId: folderId }]) {
        const answer = await other.send(FORECAST, { input });
        expect(answer.errors?.[0]?.extensions).toMatchObject({
          code: 'BAD_USER_INPUT',
          problems: [{ code: 'NOT_FOUND', path: Object.keys(input) }],
        });
      }
      const socket = openSocket(server.url, other.key);
      for (const field of ['campaignProgress', 'callEvents']) {
        const stream = socket.iterate({
          query: `subscription { ${field}(campaignId: "${id}") { __typename } }`,
        });
        const refused = [{ extensions: { code: 'BAD_USER_INPUT' } }];
        await expect(stream.next()).rejects.toMatchObject(refused);
      }
      await socket.dispose();
    });

    it('does not include mutations for an access token', async () => {
      const made = await runMutation(client, 'createAccessToken', {}, 'accessToken');
      const reader = createClient(server.url, made.accessToken);
      const answer = await reader.send(
        'mutation ($input: PauseCampaignInput!) { pauseCampaign(input: $input) { campaign { id } } }',
        { input: { id: await inStatus('SCHEDULED') } },
      );
      expect(answer.errors?.[0]?.extensions.code).toBe('FORBIDDEN');
    });
  });

  describe('campaignProgress', () => {
    it('reads the campaign once for all who follow it, and gives each its current state first', async () => {
      const { id } = (await draft({ contacts: people(1) })).campaign;
      const socket = openSocket(server.url, server.key);
      const follow = () => {
        const names: string[] = [];
        const snapshots = socket.iterate<{ campaignProgress: { name: string } }>({
          query: `subscription { campaignProgress(campaignId: "${id}") { name } }`,
        });
        const reading = (async () => {
          for await (const { data } of snapshots) names.push(data!.campaignProgress.name);
        })();
        // A closed socket, when the test has failed.
        reading.catch(() => undefined);
        return names;
      };
      const all = Array.from({ length: 30 }, follow);
      await until('the current state', () => all.every(({ length }) => length === 1));
      const statements = await recordStatements(server.app, async () => {
        for (const name of ['First', 'Second']) {
          await done(client, 'updateCampaign', { id, name });
          await until('the change', () => all.every((names) => names.at(-1) === name));
        }
      });
      const reads = statements.filter((text) => /^SELECT .*FROM "public"\."campaigns"/s.test(text));
      expect(reads.length).toBeLessThan(all.length);
      const late = follow();
      await until('the current state', () => late.length > 0);
      expect(late).toEqual(['Second']);
      await socket.dispose();
    });

    it('sends consistent counters until the end, after which decisions explain every contact', async () => {
      const [one, two] = people(2);
      const [busy, listed] = ['+14155500001', '+14155500142'];
      await runMutation(
        client,
        'addToDoNotCall',
        { entries: [{ phoneNumber: listed }] },
        'entries { phoneNumber }',
      );
      const { campaign } = await draft({
        contacts: [one, two, { phoneNumber: busy }, { phoneNumber: listed }],
        retryFailed: true,
        maxRetryAttempts: 1,
        retryDelay: '1s',
      });
      const { id } = campaign;
      const { data: before } = await client.send('{ eventCursor }');
      const socket = openSocket(server.url, server.key);
      const snapshots = socket.iterate<{
        campaignProgress: { status: string; counts: Record<string, number> };
      }>({
        query: `subscription { campaignProgress(campaignId: "${id}") {
        status counts { total pending calling called completed failed skipped cancelled } } }`,
      });
      const seen: { status: string; counts: Record<string, number> }[] = [];
      const watched = (async () => {
        for await (const { data, errors } of snapshots) {
          expect(errors).toBeUndefined();
          seen.push(data!.campaignProgress);
        }
      })();
      await done(client, 'scheduleCampaign', { id });
      await watched;
      for (const { counts } of seen) {
        const { total, called, ...parts } = counts as { total: number; called: number };
        expect(Object.values(parts as object).reduce((sum, part) => sum + part, 0)).toBe(total);
        expect(called).toBe(counts.completed! + counts.failed!);
      }
      expect(seen.at(-1)).toEqual({
        status: 'COMPLETED',
        counts: {
          ...{ total: 4, pending: 0, calling: 0, called: 3 },
          ...{ completed: 2, failed: 1, skipped: 1, cancelled: 0 },
        },
      });

      const answer = await client.send(
        `query ($id: ID!) {
        calls(filter: { campaignId: $id }) { totalCount nodes { campaign { id } } }
        campaign(id: $id) {
          startedAt endedAt
          endReasonCounts { endReason contacts }
          busy: contacts(filter: { endReason: [BUSY, REJECTED] }) { totalCount nodes { endReason } }
          calls(filter: { status: [FAILED] }) { totalCount }
          contacts { nodes {
            phoneNumber status skipReason attempts endReason finishedAt
            call { attempt } calls { nodes { attempt campaignContact { id } } } id
            decisions { nodes { outcome reason message call { id } } } } }
        } }`,
        { id },
      );
      const { calls, campaign: finished } = dataOf(answer);
      expect(calls).toMatchObject({ totalCount: 4, nodes: Array(4).fill({ campaign: { id } }) });
      expect(finished).toMatchObject({
        startedAt: expect.any(String),
        endedAt: expect.any(String),
        calls: { totalCount: 2 },
        endReasonCounts: [
          { endReason: 'HANGUP', contacts: 2 },
          { endReason: 'BUSY', contacts: 1 },
        ],
        busy: { totalCount: 1, nodes: [{ endReason: 'BUSY' }] },
      });
      const own = ({
        decisions,
      }: {
        decisions: { nodes: { outcome: string; reason: string }[] };
      }) => decisions.nodes.map(({ outcome, reason }) => `${outcome} ${reason}`);
      const [first, , third, fourth] = finished.contacts.nodes;
      expect(first).toMatchObject({ status: 'COMPLETED', attempts: 1, call: { attempt: 1 } });
      expect(own(first)).toEqual(['DIALED DUE', 'COMPLETED CALL_ENDED']);
      expect(third).toMatchObject({
        ...{ status: 'FAILED', attempts: 2, endReason: 'BUSY', call: { attempt: 2 } },
        calls: { nodes: [1, 2].map((attempt) => ({ attempt, campaignContact: { id: third.id } })) },
      });
      expect(own(third)).toEqual([
        'DIALED DUE',
        'RETRIES CALL_ENDED',
        'DIALED DUE',
        'FAILED RETRIES_USED_UP',
      ]);
      expect(third.decisions.nodes[1].message).toMatch(
        /^The call failed: retry follows, not before \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(.+\)\.$/,
      );
      expect(third.decisions.nodes[3].message).toBe(
        'The call failed and no retries are left: contact failed.',
      );
      expect(fourth).toMatchObject({ status: 'SKIPPED', skipReason: 'DO_NOT_CALL', call: null });
      expect(own(fourth)).toEqual(['SKIPPED DO_NOT_CALL']);

      // `callEvents` of the campaign has its calls and no others.
      await caller.call();
      const events = socket.iterate<{ callEvents: { type: string; callId: string } }>({
        query: `subscription { callEvents(campaignId: "${id}", types: [CREATED], after: "${before.eventCursor}") { type callId } }`,
      });
      const heard = new Set<string>();
      for await (const { data } of events) {
        heard.add(data!.callEvents.callId);
        if (heard.size === 4) break;
      }
      const placed = await server.app.db.call.findMany({ where: { campaignId: uuidOf(id) } });
      expect([...heard].sort()).toEqual(placed.map((call) => publicId('Call', call.id)).sort());
      await socket.dispose();
    });
  });
}
