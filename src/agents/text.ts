/** Texts of an agent, spoken or read by the model. */
import Mustache from 'mustache';
import type { ProblemPath } from '../errors.ts';
import type { Checks } from '../infra/checks.ts';

/** A text in which Ultravox replaces `{{placeholders}}`. */
export function template(
  checks: Checks,
  value: string,
  path: ProblemPath,
  limits: { min?: number; max: number },
): string | undefined {
  const checked = checks.text(value, path, limits);
  if (checked === undefined || !checked.includes('{{')) return checked;
  try {
    // A writer of its own: the shared one keeps every text it has ever seen.
    new Mustache.Writer().parse(checked);
    return checked;
  } catch (error) {
    return checks.add(
      'INVALID_INPUT',
      `\`${path.join('.')}\` has a broken placeholder (${error instanceof Error ? error.message : String(error)}). Write placeholders as {{name}}, and close every section {{#name}} with {{/name}}.`,
      path,
    );
  }
}
