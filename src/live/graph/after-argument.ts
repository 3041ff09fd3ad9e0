/** The argument `after` of the subscriptions that read the event log. */
export const AFTER =
  'Cursor of the last event received, or `eventCursor`. Default: only events from now on. `"0"` starts at the oldest event kept. A cursor older than that fails with `CURSOR_EXPIRED`.';
