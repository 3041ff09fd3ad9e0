/** Erasure of personal data of the contacts of deleted campaigns, without a worker that erases it meanwhile. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { App } from '../../../src/app.ts';
import { eraseDeletedContacts } from '../../../src/campaigns/contacts/erasure.ts';
import type { PersonField } from '../../../src/contacts/person-columns.ts';
import { Prisma } from '../../../src/generated/prisma/client.ts';
import { newId } from '../../../src/infra/ids.ts';
import { runMutation } from '../../support/calling.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { act, createCampaign, type Operator, people, prepareOperator, uuidOf } from '../support.ts';

let server: TestServer;
let operator: Operator;
let db: App['db'];

beforeAll(async () => {
  server = await startTestServer({ settings: { ROLE: 'api' } });
  operator = await prepareOperator(server.client);
  ({ db } = server.app);
});
afterAll(() => server?.close());

const PERSON = {
  clientId: 'Erased',
  phoneNumber: '+14155550188',
  firstName: 'Erased',
  lastName: 'Erased',
  email: 'erased@example.com',
  companyName: 'Erased',
  industry: 'Erased',
  location: 'Erased',
  pinCode: 'Erased',
  keywords: 'Erased',
  timezone: 'Europe/Paris',
  metadata: { note: 'Erased' },
} satisfies Record<PersonField | 'clientId', unknown>;
const PERSONAL = /erased|5550188|Paris/i;

/** Columns that say nothing about the person. All others are erased. */
const KEPT = [
  ...['id', 'organizationId', 'campaignId', 'contactId', 'position', 'status', 'skipReason'],
  ...['scheduledAt', 'nextEligibleAt', 'attempts', 'attemptDay', 'endReason', 'calledAt'],
  ...['finishedAt', 'createdAt', 'updatedAt'],
];
const ERASED = Object.values(Prisma.CampaignContactScalarFieldEnum).filter(
  (field) => !KEPT.includes(field),
);

const rowsOf = (campaignId: string) =>
  db.campaignContact.findMany({ where: { campaignId }, orderBy: { position: 'asc' } });
const deleteCampaign = (id: string) =>
  runMutation(operator.client, 'deleteCampaigns', { ids: [id] }, 'deletedCampaignIds');

describe('eraseDeletedContacts', () => {
  it('erases everything about the people of a deleted campaign, after its last call', async () => {
    const scheduledAt = '2040-03-05T08:00:00.000Z';
    const contacts = [PERSON, ...people(1)];
    const { id } = await createCampaign(operator, { contacts, scheduledAt });
    const campaignId = uuidOf(id);
    const [person] = await rowsOf(campaignId);
    const unerased = Object.values(person!).filter((value) => PERSONAL.test(JSON.stringify(value)));
    expect(unerased.length).toBeGreaterThanOrEqual(Object.keys(PERSON).length);
    const move = (status: 'CALLING' | 'COMPLETED', finishedAt: Date | null) =>
      db.campaignContact.update({
        where: { id: person!.id },
        data: { status, finishedAt, nextEligibleAt: null, attempts: 1 },
      });
    const count = (data: object) => db.campaign.update({ where: { id: campaignId }, data });
    await move('CALLING', null);
    await count({ pendingCount: { decrement: 1 }, callingCount: { increment: 1 } });
    await act(operator, 'cancelCampaign', id);
    await eraseDeletedContacts(server.app);
    await deleteCampaign(id);
    await eraseDeletedContacts(server.app);
    expect(JSON.stringify((await rowsOf(campaignId))[0])).toMatch(PERSONAL);

    await move('COMPLETED', new Date());
    await count({ callingCount: { decrement: 1 }, completedCount: { increment: 1 } });
    await eraseDeletedContacts(server.app);
    const rows = await rowsOf(campaignId);
    expect(JSON.stringify(rows)).not.toMatch(PERSONAL);
    expect(rows).toMatchObject([
      { id: person!.id, status: 'COMPLETED', attempts: 1, phoneNumber: '', metadata: {} },
      { status: 'CANCELLED', phoneNumber: '' },
    ]);
  });

  it('erases every column that is not known to say nothing about the person', async () => {
    const scheduledAt = '2040-03-05T08:00:00.000Z';
    const { id } = await createCampaign(operator, { contacts: [PERSON], scheduledAt });
    await act(operator, 'cancelCampaign', id);
    const values = async (): Promise<[string, string][]> => {
      const [row] = await rowsOf(uuidOf(id));
      return ERASED.map((field) => [field, JSON.stringify(row![field]).replace(row!.id, '')]);
    };
    const isEmpty = ([, value]: [string, string]) => ['null', '""', '{}'].includes(value);
    // A value that was empty before does not prove anything: give `PERSON` one.
    expect((await values()).filter(isEmpty)).toEqual([]);
    await deleteCampaign(id);
    await eraseDeletedContacts(server.app);
    expect((await values()).filter((value) => !isEmpty(value))).toEqual([]);
  });

  it('works in steps, goes on where a process has died, and changes nothing twice', async () => {
    const { id } = await createCampaign(operator, {});
    const campaignId = uuidOf(id);
    await db.$executeRaw`
      INSERT INTO campaign_contacts (id, organization_id, campaign_id, position, identity,
        phone_number, status, finished_at, updated_at)
      SELECT new_id(), ${server.organizationId}::uuid, ${campaignId}::uuid, n, n::text, '+1' || n,
        'CANCELLED', now(), now() FROM generate_series(0, 10500) AS n`;
    await deleteCampaign(id);
    const left = () =>
      db.campaignContact.count({ where: { campaignId, phoneNumber: { not: '' } } });
    const campaign = () => db.campaign.findUniqueOrThrow({ where: { id: campaignId } });
    let queries = 0;
    const dying = new Proxy(db, {
      get(target, name) {
        if (name === '$queryRaw') queries += 1;
        // The first one finds the campaign, the next two are steps.
        if (queries > 3) throw new Error('The process died');
        return Reflect.get(target, name);
      },
    });
    await eraseDeletedContacts({ ...server.app, db: dying } as App);
    expect(await left()).toBe(501);
    expect((await campaign()).contactsErasedAt).toBeNull();

    await eraseDeletedContacts(server.app);
    expect(await left()).toBe(0);
    const erased = await campaign();
    expect(erased.contactsErasedAt).not.toBeNull();
    await eraseDeletedContacts(server.app);
    expect(await campaign()).toEqual(erased);
  });

  it('erases rows that an interrupted request had staged', async () => {
    const { id } = await createCampaign(operator, {});
    const campaignId = uuidOf(id);
    const enrollmentId = newId();
    await db.campaignEnrollment.create({
      data: {
        id: enrollmentId,
        organizationId: server.organizationId,
        campaignId,
        status: 'STAGING',
        rows: { create: { ordinal: 0, identity: 'Erased', phoneNumber: '+1', metadata: {} } },
      },
    });
    await deleteCampaign(id);
    await eraseDeletedContacts(server.app);
    const erasedAt = async () =>
      (await db.campaign.findUniqueOrThrow({ where: { id: campaignId } })).contactsErasedAt;
    expect(await db.campaignEnrollmentRow.count({ where: { enrollmentId } })).toBe(0);
    // The process may still be alive, and stage more.
    expect(await erasedAt()).toBeNull();
    const longAgo = new Date(Date.now() - 60_000);
    await db.campaignEnrollment.update({
      where: { id: enrollmentId },
      data: { updatedAt: longAgo },
    });
    await eraseDeletedContacts(server.app);
    expect(await erasedAt()).not.toBeNull();
    expect(await db.campaignEnrollment.count({ where: { id: enrollmentId } })).toBe(0);
  });

  it('erases a campaign although it fails for many that were deleted before', async () => {
    const scheduledAt = '2040-03-05T08:00:00.000Z';
    const { id } = await createCampaign(operator, { contacts: [PERSON], scheduledAt });
    await act(operator, 'cancelCampaign', id);
    await deleteCampaign(id);
    await db.$executeRaw`
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'This campaign is not changed'; END $$`;
    await db.$executeRaw`
      CREATE TRIGGER refuse BEFORE UPDATE ON campaigns FOR EACH ROW
        WHEN (OLD.name = 'Refused') EXECUTE FUNCTION refuse()`;
    await db.$executeRaw`
      INSERT INTO campaigns SELECT refused.* FROM campaigns c, generate_series(1, 101) AS n,
        jsonb_populate_record(c, jsonb_build_object('id', md5(n::text)::uuid, 'name', 'Refused',
          'deleted_at', c.deleted_at - interval '1 day')) AS refused
      WHERE c.id = ${uuidOf(id)}::uuid`;
    await eraseDeletedContacts(server.app);
    expect(JSON.stringify(await rowsOf(uuidOf(id)))).not.toMatch(PERSONAL);
  });
});
