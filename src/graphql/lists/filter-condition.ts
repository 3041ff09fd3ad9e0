/** Conditions from the `filter` argument of lists. */
import { type ProblemPath, RequestError } from '../../errors.ts';
import { Checks } from '../../infra/checks.ts';

/**
 * Returns the result of `translate`, which collects problems in `checks`.
 *
 * @throws RequestError BAD_USER_INPUT with the first problem. Mutations report all of them as user errors.
 */
export function filterCondition<Where>(
  translate: (checks: Checks, path: ProblemPath) => Where,
): Where {
  const checks = new Checks();
  const where = translate(checks, ['filter']);
  const [problem] = checks.problems;
  if (problem) throw new RequestError('BAD_USER_INPUT', problem.message);
  return where;
}
