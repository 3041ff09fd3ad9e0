/** Checks the parameters of a tool, each on its own. */
import type { ProblemPath } from '../errors.ts';
import type { Checks } from '../infra/checks.ts';
import { formatNumber } from '../infra/format-number.ts';
import { schemaProblem } from '../infra/json-schema/schema-problem.ts';
import { HTTP_TOKEN, isHeaderValue } from './authentication-input.ts';
import type {
  AutomaticParameter,
  DynamicParameter,
  ParameterLocation,
  StaticParameter,
} from './definition.ts';

export const MAX_PARAMETERS = 50;
export const MAX_JSON = 20_000;
/** Maximum number of objects and lists in the schema of a parameter. */
const MAX_SCHEMA_OBJECTS = 300;
const PARAMETER_NAME = /^[a-zA-Z0-9_.-]{1,64}$/;

type Maybe<T> = T | null | undefined;

export interface NamedParameter {
  name: string;
  location: ParameterLocation;
}

export interface DynamicParameterInput extends NamedParameter {
  schema: Record<string, unknown>;
  required?: Maybe<boolean>;
}

export interface StaticParameterInput extends NamedParameter {
  value?: unknown;
}

/** This function and the next two return undefined if the list was not sent, is null or has too many entries. */
export function checkDynamicParameters(
  checks: Checks,
  parameters: Maybe<readonly DynamicParameterInput[]>,
): DynamicParameter[] | undefined {
  return checkNames(checks, parameters, 'dynamicParameters')?.map((parameter, index) => {
    checkSchema(checks, parameter.schema, ['dynamicParameters', index, 'schema']);
    return {
      ...nameAndLocation(parameter),
      schema: parameter.schema,
      required: parameter.required ?? true,
    };
  });
}

export function checkStaticParameters(
  checks: Checks,
  parameters: Maybe<readonly StaticParameterInput[]>,
): StaticParameter[] | undefined {
  return checkNames(checks, parameters, 'staticParameters')?.map((parameter, index) => {
    checkValue(checks, parameter, ['staticParameters', index, 'value']);
    return { ...nameAndLocation(parameter), value: parameter.value ?? null };
  });
}

export function checkAutomaticParameters(
  checks: Checks,
  parameters: Maybe<readonly AutomaticParameter[]>,
): AutomaticParameter[] | undefined {
  return checkNames(checks, parameters, 'automaticParameters')?.map((parameter) => ({
    ...nameAndLocation(parameter),
    knownValue: parameter.knownValue,
  }));
}

export function nameAndLocation({ name, location }: NamedParameter): NamedParameter {
  return { name, location };
}

function checkNames<Parameter extends NamedParameter>(
  checks: Checks,
  parameters: Maybe<readonly Parameter[]>,
  member: string,
): readonly Parameter[] | undefined {
  if (!parameters) return undefined;
  for (const [index, { name, location }] of parameters.entries()) {
    const header = location === 'HEADER';
    if ((header ? HTTP_TOKEN : PARAMETER_NAME).test(name)) continue;
    checks.add(
      'INVALID_INPUT',
      `\`${member}.${index}.name\` must be ${header ? 'a valid header name' : '1 to 64 letters, digits, "_", "-" or "."'}.`,
      [member, index, 'name'],
    );
  }
  return parameters;
}

function checkSchema(checks: Checks, schema: Record<string, unknown>, path: ProblemPath): void {
  if (JSON.stringify(schema).length > MAX_JSON) {
    addTooLong(checks, path);
    return;
  }
  const problem = schemaProblem(schema, { maxObjects: MAX_SCHEMA_OBJECTS });
  if (!problem) return;
  checks.add(
    'INVALID_INPUT',
    `\`${path.join('.')}\` is not a valid JSON Schema: ${problem}.`,
    path,
  );
}

function checkValue(
  checks: Checks,
  { value, location }: { value?: unknown; location: ParameterLocation },
  path: ProblemPath,
): void {
  const name = `\`${path.join('.')}\``;
  if (value === undefined || value === null) {
    checks.add('REQUIRED', `${name} is required and cannot be null.`, path);
  } else if (location !== 'BODY' && typeof value === 'object') {
    checks.add(
      'INVALID_INPUT',
      `${name} must be a string, number or boolean. Only a BODY parameter may be an object or a list.`,
      path,
    );
  } else if (JSON.stringify(value).length > MAX_JSON) {
    addTooLong(checks, path);
  } else if (location === 'HEADER' && !isHeaderValue(String(value))) {
    checks.add('INVALID_INPUT', `${name} is not a valid header value.`, path);
  }
}

function addTooLong(checks: Checks, path: ProblemPath): void {
  checks.add(
    'INVALID_INPUT',
    `\`${path.join('.')}\` must have at most ${formatNumber(MAX_JSON)} characters as JSON.`,
    path,
  );
}
