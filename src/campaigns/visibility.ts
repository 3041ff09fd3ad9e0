/** Filters for the campaigns and campaign contacts that a viewer may see. */
import { ownedBy, type Viewer } from '../viewer.ts';

/** Campaigns that are not deleted. A token for one campaign sees only that campaign. */
export function visibleCampaigns(viewer: Viewer) {
  return {
    ...ownedBy(viewer),
    deletedAt: null,
    ...(viewer.onlyCampaignId ? { id: viewer.onlyCampaignId } : {}),
  };
}

/** Contacts of visible campaigns. */
export function visibleCampaignContacts(viewer: Viewer) {
  return { ...ownedBy(viewer), campaign: visibleCampaigns(viewer) };
}
