/** Which campaigns somebody may see. */
import { ownedBy, type Viewer } from '../organizations/viewer.ts';

/** The campaigns a viewer sees: not deleted, and only its own one for a token of one campaign. */
export function visibleCampaigns(viewer: Viewer) {
  return {
    ...ownedBy(viewer),
    deletedAt: null,
    ...(viewer.onlyCampaignId ? { id: viewer.onlyCampaignId } : {}),
  };
}

/** Their contacts. */
export function visibleCampaignContacts(viewer: Viewer) {
  return { ...ownedBy(viewer), campaign: visibleCampaigns(viewer) };
}
