/** The GraphQL type of a problem that the caller can fix. */
import { type Problem, USER_ERROR_CODES } from '../../errors.ts';
import { builder } from '../builder.ts';

/** Maximum lengths in characters. Messages and paths may contain values that the client sent. */
const MAX_MESSAGE = 2_000;
const MAX_KEY = 200;

export const UserErrorCodeEnum = builder.enumType('UserErrorCode', {
  description: 'Kind of a user error. A code never changes its meaning.',
  values: Object.fromEntries(
    Object.entries(USER_ERROR_CODES).map(([code, description]) => [code, { description }]),
  ) as { [C in keyof typeof USER_ERROR_CODES]: { description: string } },
});

export const UserErrorType = builder.objectRef<Problem>('UserError').implement({
  description: 'Problem that the caller can fix, in the input or in the state of an object.',
  fields: (t) => ({
    code: t.field({
      type: UserErrorCodeEnum,
      description: 'Machine-readable code.',
      resolve: (problem) => problem.code,
    }),
    message: t.string({
      description:
        'Human-readable explanation of the problem and of how to fix it. The wording may change.',
      resolve: ({ message }) => truncate(message, MAX_MESSAGE),
    }),
    path: t.stringList({
      description:
        'Location in the input object: field names and list indexes, such as `["inactivityMessages", "0", "duration"]`.',
      resolve: ({ path }) => path.map((key) => truncate(String(key), MAX_KEY)),
    }),
    retryAt: t.field({
      type: 'DateTime',
      nullable: true,
      description:
        'Time from which the same request may succeed, also with the same idempotency key. Null if waiting does not help.',
      resolve: (problem) => problem.retryAt ?? null,
    }),
    details: t.field({
      type: 'JSONObject',
      nullable: true,
      description:
        'Further data that depends on the code, such as the objects that use the one to be deleted.',
      resolve: (problem) => problem.details ?? null,
    }),
  }),
});

function truncate(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max - 1)}…` : text;
}
