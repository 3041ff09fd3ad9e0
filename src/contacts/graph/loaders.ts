/** Batched lookup of phone numbers on the do-not-call list. */
import { batched } from '../../graphql/reading/batched.ts';
import { phoneNumberForms } from '../../infra/phone-number.ts';
import { ownedBy } from '../../viewer.ts';

/** Whether the number is on the viewer's do-not-call list. */
export const loadDoNotCall = batched<string, boolean>(async ({ app, viewer }, numbers) => {
  const forms = [...new Set(numbers.flatMap(phoneNumberForms))];
  const entries = await app.db.doNotCallEntry.findMany({
    where: { ...ownedBy(viewer), phoneNumber: { in: forms } },
    select: { phoneNumber: true },
  });
  const listed = new Set(entries.map((entry) => entry.phoneNumber));
  return numbers.map((number) => phoneNumberForms(number).some((form) => listed.has(form)));
});
