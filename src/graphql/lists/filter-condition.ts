/** Conditions from the `filter` argument of lists. */
import type { ProblemPath } from '../../errors.ts';
import { Checks } from '../../infra/checks.ts';

/**
 * Returns the result of `translate`, which collects problems in `checks`.
 *
 * @throws UserInputError with all problems.
 */
export function filterCondition<Where>(
  translate: (checks: Checks, path: ProblemPath) => Where,
): Where {
  const checks = new Checks();
  const where = translate(checks, ['filter']);
  checks.throwIfAny();
  return where;
}
