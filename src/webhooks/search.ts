/** Translates filters for webhook endpoints and deliveries into conditions. */
import type { ProblemPath } from '../errors.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import type { WebhookDeliveryStatus } from '../generated/prisma/enums.ts';
import type { Checks } from '../infra/checks.ts';
import { escapeLike } from '../infra/database/escape-like.ts';
import { ownedBy, type Viewer } from '../viewer.ts';

interface EndpointFilter {
  search?: string | null | undefined;
  agentId?: string | null | undefined;
  enabled?: boolean | null | undefined;
}

/** Returns the condition of a filter. Problems are added to `checks` under `path`. */
export function endpointsWhere(
  checks: Checks,
  filter: EndpointFilter,
  path: ProblemPath,
  { viewer }: { viewer: Viewer },
): Prisma.WebhookEndpointWhereInput {
  const { search, enabled } = filter;
  const agentId = checks.id('Agent', filter.agentId, [...path, 'agentId']);
  const text = search ? { contains: escapeLike(search), mode: 'insensitive' as const } : null;
  return {
    ...(agentId ? { agentId } : {}),
    ...(typeof enabled === 'boolean' ? { disabledAt: enabled ? null : { not: null } } : {}),
    // A viewer that is not shown the whole address could otherwise find it out by searching.
    ...(text
      ? { OR: [{ description: text }, ...(viewer.scopes.has('WRITE') ? [{ url: text }] : [])] }
      : {}),
  };
}

/** The deliveries that a viewer may see. */
export function deliveriesOf(viewer: Viewer) {
  return { ...ownedBy(viewer), endpoint: { deletedAt: null } };
}

interface DeliveryFilter {
  /** Empty means all, as for `eventType`. */
  status?: readonly WebhookDeliveryStatus[] | null | undefined;
  eventType?: readonly string[] | null | undefined;
  eventId?: string | null | undefined;
  createdFrom?: Date | null | undefined;
  createdBefore?: Date | null | undefined;
}

/** Returns the condition of a filter. Problems are added to `checks` under `path`. */
export function deliveriesWhere(
  checks: Checks,
  { status, eventType, eventId, createdFrom, createdBefore }: DeliveryFilter,
  path: ProblemPath,
): Prisma.WebhookDeliveryWhereInput {
  const conditions: Prisma.WebhookDeliveryWhereInput[] = [];
  if (status?.length) conditions.push({ status: { in: [...status] } });
  if (eventType?.length) conditions.push({ message: { type: { in: [...eventType] } } });
  if (typeof eventId === 'string') {
    const [, uuid] = /^evt_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.exec(eventId) ?? [];
    if (uuid) conditions.push({ messageId: uuid });
    else {
      const message = '`eventId` must be the ID of an event: `evt_` followed by a UUID.';
      checks.add('INVALID_INPUT', message, [...path, 'eventId']);
    }
  }
  if (createdFrom) conditions.push({ createdAt: { gte: createdFrom } });
  if (createdBefore) conditions.push({ createdAt: { lt: createdBefore } });
  return { AND: conditions };
}
