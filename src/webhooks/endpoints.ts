/** Validates, creates, changes and deletes webhook endpoints of an organization. */
import type { App, Tx } from '../app.ts';
import { userError } from '../errors.ts';
import type { WebhookDelivery, WebhookEndpoint } from '../generated/prisma/client.ts';
import { publicId } from '../ids.ts';
import { Checks } from '../infra/checks.ts';
import { newId } from '../infra/ids.ts';
import { currentCursor } from '../live/log.ts';
import {
  commitResult,
  committedEarlier,
  newObjectId,
  ownedAndNotDeleted,
  ownedBy,
  secretBytes,
  type Viewer,
} from '../viewer.ts';
import { checkAddress } from './addresses.ts';
import { TEST_EVENT, type WebhookEventName } from './catalog.ts';
import { deletedState, disableEndpoint, HEALTHY, NO_FAILURES } from './endpoint-health.ts';
import { envelope } from './messages.ts';
import { decryptSecret, encryptSecret, ROTATION_HOURS } from './secrets.ts';
import { announceDeliveries } from './sending/sender.ts';
import { newWebhookSecret } from './signature.ts';

export const MAX_ENDPOINTS = 20;
export const MAX_DESCRIPTION = 200;

export interface CreateWebhookEndpointInput {
  url: string;
  description?: string | null | undefined;
  eventTypes?: readonly WebhookEventName[] | null | undefined;
}

/** @returns the endpoint and its signing secret, which cannot be read again. */
export async function createWebhookEndpoint(
  app: App,
  viewer: Viewer,
  input: CreateWebhookEndpointInput,
): Promise<{ webhookEndpoint: WebhookEndpoint; secret: string }> {
  const checks = new Checks();
  const url = checkAddress(checks, app.config, input.url, ['url']);
  const description = checks.text(input.description, ['description'], { max: MAX_DESCRIPTION });
  checks.throwIfAny();
  const id = newObjectId(viewer);
  const secret = newWebhookSecret(secretBytes(app, viewer, 'webhook secret')());
  const startCursor = await currentCursor(app, viewer.organizationId);
  const webhookEndpoint = await app.db.$transaction(async (tx) => {
    // Serialized per organization, to enforce the maximum.
    await tx.$queryRaw`
      SELECT id FROM organizations WHERE id = ${viewer.organizationId}::uuid FOR NO KEY UPDATE`;
    // The endpoint may have been created by an earlier run under the same idempotency key, with the same secret.
    const made = await tx.webhookEndpoint.findFirst({ where: { ...ownedBy(viewer), id } });
    if (made) return made;
    const count = await tx.webhookEndpoint.count({
      where: { ...ownedAndNotDeleted(viewer), agentId: null },
    });
    if (count >= MAX_ENDPOINTS) {
      throw userError(
        'LIMIT_EXCEEDED',
        `An organization can have at most ${MAX_ENDPOINTS} webhook endpoints. Delete one first.`,
      );
    }
    return tx.webhookEndpoint.create({
      data: {
        id,
        ...ownedBy(viewer),
        url: url!,
        description: description ?? null,
        eventTypes: [...new Set(input.eventTypes ?? [])],
        secret: encryptSecret(app, id, secret),
        startCursor,
      },
    });
  });
  return { webhookEndpoint, secret };
}

export interface UpdateWebhookEndpointInput {
  id: string;
  url?: string | null | undefined;
  description?: string | null | undefined;
  eventTypes?: readonly WebhookEventName[] | null | undefined;
  enabled?: boolean | null | undefined;
}

/**
 * Updates the given fields. Enabling an endpoint does not send the events it missed. Failures of the previous address
 * do not count for a new one, but a disabled endpoint stays disabled.
 */
export async function updateWebhookEndpoint(
  app: App,
  viewer: Viewer,
  input: UpdateWebhookEndpointInput,
): Promise<WebhookEndpoint> {
  const checks = new Checks();
  const address = checks.notNull(input.url, ['url']);
  const url = checkAddress(checks, app.config, address, ['url']);
  const description = checks.text(input.description, ['description'], { max: MAX_DESCRIPTION });
  const enabled = checks.notNull(input.enabled, ['enabled']);
  const id = checks.id('WebhookEndpoint', input.id, ['id']);
  checks.throwIfAny();
  const cursor = await currentCursor(app, viewer.organizationId);
  const endpoint = await app.db.$transaction(async (tx) => {
    const found = await lockEndpoint(tx, viewer, id!);
    if (found.agentId && (url !== undefined || input.eventTypes !== undefined)) {
      throw userError(
        'INVALID_STATE',
        url === undefined
          ? 'This is the CRM webhook of an agent, which receives only the results of its calls.'
          : 'This is the CRM webhook of an agent. Change its address with `updateAgent`.',
        [url === undefined ? 'eventTypes' : 'url'],
      );
    }
    if (enabled === false) {
      await disableEndpoint(tx, { id: found.id, now: app.now() }, 'REQUESTED');
    }
    return tx.webhookEndpoint.update({
      where: { id: found.id },
      data: {
        ...(url === undefined ? {} : { url }),
        ...(url === undefined || url === found.url ? {} : NO_FAILURES),
        ...(input.description === undefined ? {} : { description: description ?? null }),
        ...(input.eventTypes === undefined
          ? {}
          : { eventTypes: [...new Set(input.eventTypes ?? [])] }),
        ...(enabled && found.disabledAt ? { ...HEALTHY, startCursor: cursor } : {}),
      },
    });
  });
  announceDeliveries(app);
  return endpoint;
}

/** Deletes an endpoint with its deliveries. Requests in progress may still arrive. */
export async function deleteWebhookEndpoint(
  app: App,
  viewer: Viewer,
  publicEndpointId: string,
): Promise<string> {
  const id = readEndpointId(publicEndpointId);
  if (committedEarlier(viewer)) return id;
  await app.db.$transaction(async (tx) => {
    const { agentId } = await lockEndpoint(tx, viewer, id);
    if (agentId && (await tx.agent.count({ where: { id: agentId, deletedAt: null } }))) {
      throw userError(
        'INVALID_STATE',
        'This is the CRM webhook of an agent. Remove it by setting `crmWebhookUrl` to null with `updateAgent`.',
        ['id'],
      );
    }
    await tx.webhookEndpoint.update({ where: { id }, data: deletedState(app.now()) });
    await commitResult(tx, viewer, id);
  });
  return id;
}

/**
 * Replaces the signing secret. The previous one stays valid for a day.
 *
 * @returns the endpoint and the new secret, which cannot be read again.
 */
export async function rotateWebhookSecret(
  app: App,
  viewer: Viewer,
  publicEndpointId: string,
): Promise<{ webhookEndpoint: WebhookEndpoint; secret: string }> {
  const id = readEndpointId(publicEndpointId);
  const secret = newWebhookSecret(secretBytes(app, viewer, 'rotated webhook secret')());
  const webhookEndpoint = await app.db.$transaction(async (tx) => {
    const found = await lockEndpoint(tx, viewer, id);
    if (found.agentId) {
      throw userError(
        'INVALID_STATE',
        'This is the CRM webhook of an agent. Change its secret with `updateAgent`.',
        ['id'],
      );
    }
    // Rotated by an earlier run under the same idempotency key. The receiver still has the previous secret.
    if (decryptSecret(app, found) === secret) return found;
    return tx.webhookEndpoint.update({
      where: { id },
      data: {
        secret: encryptSecret(app, id, secret),
        previousSecret: found.secret,
        previousSecretUntil: new Date(app.now().getTime() + ROTATION_HOURS * 3_600_000),
        newSecretAccepted: false,
      },
    });
  });
  return { webhookEndpoint, secret };
}

/** Queues a test event, regardless of the event types of the endpoint. */
export async function sendTestWebhook(
  app: App,
  viewer: Viewer,
  publicEndpointId: string,
): Promise<WebhookDelivery> {
  const id = readEndpointId(publicEndpointId);
  const now = app.now();
  const delivery = await app.db.$transaction(async (tx) => {
    const endpoint = await lockEndpoint(tx, viewer, id);
    const deliveryId = newObjectId(viewer);
    // The delivery may have been queued by an earlier run under the same idempotency key.
    const made = await tx.webhookDelivery.findFirst({
      where: { ...ownedBy(viewer), id: deliveryId },
    });
    if (made) return made;
    requireEnabled(endpoint);
    const messageId = newId();
    const data = {
      cursor: null,
      occurredAt: now.toISOString(),
      endpoint: { id: publicId('WebhookEndpoint', id) },
      message: 'This is a test event.',
    };
    await tx.webhookMessage.create({
      data: {
        id: messageId,
        ...ownedBy(viewer),
        type: TEST_EVENT,
        body: envelope(messageId, TEST_EVENT, now, data),
        createdAt: now,
      },
    });
    return tx.webhookDelivery.create({
      data: {
        id: deliveryId,
        ...ownedBy(viewer),
        endpointId: id,
        messageId,
        nextAttemptAt: now,
        createdAt: now,
      },
    });
  });
  announceDeliveries(app);
  return delivery;
}

/** @throws UserInputError INVALID_STATE if the endpoint is disabled. */
export function requireEnabled({ disabledAt }: WebhookEndpoint, path = ['id']): void {
  if (!disabledAt) return;
  throw userError(
    'INVALID_STATE',
    'The webhook endpoint is disabled. Enable it with `updateWebhookEndpoint` first.',
    path,
  );
}

/** @throws UserInputError INVALID_ID */
export function readEndpointId(value: string, path = ['id']): string {
  const checks = new Checks();
  const id = checks.id('WebhookEndpoint', value, path);
  checks.throwIfAny();
  return id!;
}

/** Locks an endpoint for the rest of the transaction. @throws UserInputError NOT_FOUND */
export async function lockEndpoint(
  tx: Tx,
  viewer: Viewer,
  id: string,
  path = ['id'],
): Promise<WebhookEndpoint> {
  await tx.$queryRaw`
    SELECT id FROM webhook_endpoints
    WHERE id = ${id}::uuid AND organization_id = ${viewer.organizationId}::uuid FOR NO KEY UPDATE`;
  const endpoint = await tx.webhookEndpoint.findFirst({
    where: { ...ownedAndNotDeleted(viewer), id },
  });
  if (!endpoint) throw userError('NOT_FOUND', 'Webhook endpoint not found.', path);
  return endpoint;
}
