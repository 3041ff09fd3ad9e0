/** Validates texts with placeholders, and fills in those of greetings, which Ultravox does not. */
import Mustache from 'mustache';
import type { ProblemPath } from '../errors.ts';
import type { Checks } from '../infra/checks.ts';

/** Checks a text in which Ultravox replaces `{{placeholders}}`. Returns undefined if it is invalid. */
export function checkTemplate(
  checks: Checks,
  value: string,
  path: ProblemPath,
  limits: { min?: number; max: number },
): string | undefined {
  const checked = checks.text(value, path, limits);
  if (checked === undefined || !checked.includes('{{')) return checked;
  try {
    // A new writer, because the shared one caches every text without limit. Long spaces are shortened, because the time
    // that it takes for a tag grows with the square of their length.
    new Mustache.Writer().parse(checked.replace(/\s{100,}/g, ' '));
    return checked;
  } catch (error) {
    return checks.add(
      'INVALID_INPUT',
      `\`${path.join('.')}\` has an invalid placeholder (${error instanceof Error ? error.message : String(error)}). Write placeholders as {{name}}, and close every section {{#name}} with {{/name}}.`,
      path,
    );
  }
}

/**
 * Replaces the placeholders of a text, as Ultravox does in prompts. Those without a value become empty, and so does
 * everything else in the syntax of Mustache that has no text.
 */
export function fillPlaceholders(
  text: string,
  variables: Readonly<Record<string, string>>,
): string {
  if (!text.includes('{{')) return text;
  // Without a prototype, so that {{constructor}} is a placeholder without a value.
  const values = Object.assign(Object.create(null), variables) as object;
  try {
    return new Mustache.Writer().render(text, values, undefined, { escape: String });
  } catch {
    // An invalid text that was stored before greetings were checked.
    return text;
  }
}
