/** Creates and ends calls. `placement/` places them. */
import { keepAgentFromDeletion } from '../agents/usable-agent.ts';
import type { App } from '../app.ts';
import { isOnDoNotCallList } from '../contacts/do-not-call.ts';
import { userError } from '../errors.ts';
import type { Call } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { announceEvents } from '../live/log.ts';
import { phoneNumberRules } from '../organizations/service.ts';
import { chooseOutboundNumber } from '../phone-numbers/service.ts';
import { newObjectId, ownedBy, type Viewer } from '../viewer.ts';
import {
  type CallInput,
  checkCallInput,
  findReadyAgent,
  insertCall,
  placeNow,
} from './creation/new-call.ts';
import { CANCELLATION, hangUp, requestEnd } from './updates/end.ts';

/** Filter for the calls that the viewer may see. */
export function visibleCalls(viewer: Viewer) {
  return {
    ...ownedBy(viewer),
    deletedAt: null,
    ...(viewer.onlyCallId ? { id: viewer.onlyCallId } : {}),
    ...(viewer.onlyCampaignId ? { campaignId: viewer.onlyCampaignId } : {}),
  };
}

export interface CreateCallInput extends CallInput {
  agentId: string;
  phoneNumber: string;
  fromNumber?: string | null | undefined;
  /** Deadline: afterwards the call is no longer placed, and fails. */
  placeBefore?: Date | null | undefined;
}

/**
 * Creates an outbound call. The call is committed with its first event, then placed as soon as the limits allow,
 * normally within this request. After a crash, the worker places it if it was not claimed yet, or looks it up if it
 * was; it never creates a second one.
 */
export async function createCall(app: App, viewer: Viewer, input: CreateCallInput): Promise<Call> {
  const id = newObjectId(viewer);
  const made = await earlierCall(app, viewer, id);
  // The input was checked by the earlier run. Its deadline may have passed since, or its agent may have been deleted.
  if (made) return placeNow(app, made);

  const checks = new Checks();
  const agent = await findReadyAgent(app, viewer, checks, input.agentId);
  const rules = await phoneNumberRules(app, viewer);
  const phoneNumber = checks.phoneNumber(input.phoneNumber, ['phoneNumber'], rules);
  const fromNumber = checks.phoneNumber(input.fromNumber, ['fromNumber']);
  const common = checkCallInput(checks, input);
  const placeBefore = input.placeBefore ? withMargin(app, input.placeBefore) : null;
  if (placeBefore && placeBefore <= app.now()) {
    const seconds = app.config.CALLING_WINDOW_MARGIN_SECONDS;
    const message = `\`placeBefore\` must be more than ${seconds} s ahead.`;
    checks.add('INVALID_INPUT', message, ['placeBefore']);
  }
  if (phoneNumber && phoneNumber === fromNumber) {
    checks.add('INVALID_INPUT', '`phoneNumber` and `fromNumber` are the same.', ['phoneNumber']);
  }
  checks.throwIfAny();
  if (!agent || !phoneNumber) throw new Error('The checks passed without an agent or a number');

  const call = await app.db.$transaction(async (tx) => {
    await keepAgentFromDeletion(tx, viewer, agent.id);
    if (await isOnDoNotCallList(tx, viewer.organizationId, phoneNumber)) {
      throw userError(
        'DO_NOT_CALL',
        'The number is on the do-not-call list. To call it, remove it with `removeFromDoNotCall` first.',
        ['phoneNumber'],
      );
    }
    const number = await chooseOutboundNumber(tx, viewer, agent.id, {
      to: phoneNumber,
      from: fromNumber,
    });
    return insertCall(app, tx, agent, {
      id,
      medium: number.provider,
      phoneNumber,
      ownNumber: number.phoneNumber,
      phoneNumberId: number.id,
      placeBefore,
      ...common,
    });
  });
  announceEvents(app, viewer.organizationId);
  return placeNow(app, call);
}

/** Deadline for sending the request so that no phone rings after `instant`, as for a calling window. */
function withMargin({ config }: App, instant: Date): Date {
  return new Date(instant.getTime() - config.CALLING_WINDOW_MARGIN_SECONDS * 1000);
}

/** Returns the call created by an interrupted run with the same idempotency key. Null if there is none. */
async function earlierCall(app: App, viewer: Viewer, id: string): Promise<Call | null> {
  if (!viewer.idempotency) return null;
  return app.db.call.findFirst({ where: { ...ownedBy(viewer), id } });
}

/**
 * Ends a call. A call that is not dialed yet is canceled at once. An answered call is hung up at Ultravox and ends
 * when Ultravox reports it. A ringing call cannot be stopped at Ultravox: it is hung up as soon as it is answered, and
 * is CANCELLED if it never is. Has no effect on an ended call.
 *
 * Order: the request is committed first, then sent to Ultravox. If that fails, the next update of the call or the
 * reconciler tries again.
 */
export async function endCall(app: App, viewer: Viewer, id: string): Promise<Call> {
  const call = await findOwnCall(app, viewer, id);
  const after = await requestEnd(app, call.id, CANCELLATION);
  if (after.status === 'IN_PROGRESS') await hangUp(app, after);
  return app.db.call.findUniqueOrThrow({ where: { id: call.id } });
}

async function findOwnCall(app: App, viewer: Viewer, id: string): Promise<Call> {
  const checks = new Checks();
  const uuid = checks.id('Call', id, ['id']);
  checks.throwIfAny();
  const call = await app.db.call.findFirst({
    where: { ...ownedBy(viewer), deletedAt: null, id: uuid! },
  });
  if (!call) throw userError('NOT_FOUND', 'Call not found.', ['id']);
  return call;
}
