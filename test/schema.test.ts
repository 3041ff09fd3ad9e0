/** Generated files are up to date, and the graph follows its conventions. */
import { readFileSync } from 'node:fs';
import {
  type GraphQLArgument,
  type GraphQLInputField,
  getNamedType,
  getNullableType,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isListType,
  isObjectType,
  isScalarType,
  isSpecifiedScalarType,
} from 'graphql';
import { scalars } from 'truedy-graphql/scalars';
import { describe, expect, it } from 'vitest';
import { expiresWithCredential } from '../src/graphql/credential-expiry.ts';
import { createLogger } from '../src/infra/logger.ts';
import { findMissingMigration } from '../src/infra/migrations/migration-cli.ts';
import { printedSchema } from '../src/server/print-schema.ts';
import { schema } from '../src/server/schema.ts';
import { createTestDatabase } from './support/servers/database.ts';

const types = Object.values(schema.getTypeMap()).filter((type) => !type.name.startsWith('__'));

describe('schema.graphql', () => {
  it('is current: run `npm run generate`', () => {
    expect(readFileSync('schema.graphql', 'utf8')).toBe(printedSchema());
  });
});

describe('prisma/migrations', () => {
  it('agree with prisma/schema.prisma', async () => {
    const database = await createTestDatabase({ empty: true });
    const log = createLogger({ level: 'error' });
    const missing = await findMissingMigration({ emptyDatabaseUrl: database.url, log });
    await database.drop();
    expect(missing).toBeUndefined();
  });
});

describe('descriptions of the schema', () => {
  it('exist for every type, field, argument and value', () => {
    const missing: string[] = [];
    const note = (name: string, description?: string | null): void => {
      if (!description?.trim()) missing.push(name);
    };
    for (const type of types) {
      if (isSpecifiedScalarType(type)) continue;
      note(type.name, type.description);
      if (isEnumType(type)) {
        for (const value of type.getValues()) note(`${type.name}.${value.name}`, value.description);
      }
      if (isInputObjectType(type)) {
        for (const field of Object.values(type.getFields())) {
          note(`${type.name}.${field.name}`, field.description);
        }
      }
      if (isObjectType(type) || isInterfaceType(type)) {
        for (const field of Object.values(type.getFields())) {
          note(`${type.name}.${field.name}`, field.description);
          for (const arg of field.args) {
            note(`${type.name}.${field.name}(${arg.name}:)`, arg.description);
          }
        }
      }
    }
    expect(missing).toEqual([]);
  });
});

describe('mutations', () => {
  const mutations = Object.values(schema.getMutationType()!.getFields());

  it.each(
    mutations.map((field) => [field.name, field] as const),
  )('%s has one input, a payload and userErrors', (name, field) => {
    const typeName = `${name[0]!.toUpperCase()}${name.slice(1)}`;
    expect(field.args.map((arg) => String(arg.type))).toEqual([`${typeName}Input!`]);
    expect(String(field.type)).toBe(`${typeName}Payload!`);
    const payload = getNamedType(field.type);
    if (!isObjectType(payload)) throw new Error('A payload is an object');
    expect(String(payload.getFields().userErrors?.type)).toBe('[UserError!]!');
    for (const member of Object.values(payload.getFields())) {
      if (member.name !== 'userErrors') expect(String(member.type)).not.toMatch(/!$/);
    }
  });
});

describe('fields that require more than READ', () => {
  const required = (element: { extensions: object }) => {
    const { pothosOptions } = element.extensions as {
      pothosOptions?: { authScopes?: Record<string, boolean> };
    };
    const { admin, write } = pothosOptions?.authScopes ?? {};
    return admin ? ['ADMIN'] : write ? ['WRITE'] : [];
  };

  it('name the scope at the end of the description', () => {
    const stated: string[] = [];
    const needed: string[] = [];
    for (const type of types.filter(isObjectType)) {
      const fields = Object.values(type.getFields());
      for (const [name, element] of [
        [type.name, type] as const,
        ...fields.map((field) => [`${type.name}.${field.name}`, field] as const),
      ]) {
        needed.push(...required(element).map((scope) => `${name}: ${scope}`));
        const [, scope] = / Requires the scope `(\w+)`\.$/.exec(element.description ?? '') ?? [];
        if (scope) stated.push(`${name}: ${scope}`);
      }
    }
    expect(stated).toEqual(needed);
    expect(stated).toEqual(
      expect.arrayContaining([
        'ApiKey: ADMIN',
        'Query.apiKeys: ADMIN',
        'Mutation.createCall: WRITE',
      ]),
    );
  });
});

describe('fields whose values end with the API key or token of the request', () => {
  it('are known to those who share results among subscribers', () => {
    const fields = types
      .filter(isObjectType)
      .flatMap((type) => Object.values(type.getFields()).map((field) => ({ type, field })));
    const nameOf = ({ type, field }: (typeof fields)[number]) => `${type.name}.${field.name}`;
    const described = fields.filter(({ field }) =>
      /or with the API key or token of the request/.test(field.description ?? ''),
    );
    expect(described.map(nameOf)).toEqual([
      'CallRecording.url',
      'ContactImport.problemsUrl',
      'ContactImport.warningsUrl',
      'Voice.previewUrl',
    ]);
    const marked = fields.filter(({ field }) => expiresWithCredential(field)).map(nameOf);
    expect(marked).toEqual(expect.arrayContaining(described.map(nameOf)));
  });
});

describe('connections and list arguments', () => {
  const named = (suffix: string) => types.filter(({ name }) => name.endsWith(suffix));

  it('have one connection type and one edge type for each type of object', () => {
    for (const type of [...named('Connection'), ...named('Edge')]) {
      if (!isObjectType(type)) throw new Error(`${type.name} is no object type`);
      const { nodes, node, edges } = type.getFields();
      const object = getNamedType((nodes ?? node)!.type).name;
      expect(type.name).toBe(`${object}${nodes ? 'Connection' : 'Edge'}`);
      if (edges) expect(getNamedType(edges.type).name).toBe(`${object}Edge`);
    }
  });

  it('without pages say how many nodes they have at most', () => {
    const isNode = (type: unknown) =>
      isObjectType(type) && type.getInterfaces().some(({ name }) => name === 'Node');
    const unlimited = types
      .filter((type) => isObjectType(type))
      .filter(({ name }) => !/(Connection|Payload)$/.test(name))
      .flatMap((type) =>
        Object.values(type.getFields())
          .filter((field) => isListType(getNullableType(field.type)))
          .filter((field) => isNode(getNamedType(field.type)))
          .filter(({ description }) => !/\bat most\b|: the \d+ oldest/i.test(description ?? ''))
          .map(({ name }) => `${type.name}.${name}`),
      );
    expect(unlimited).toEqual([]);
  });

  it('have a filter whose type is named as one, because the length of its strings is limited by that name', () => {
    const members = types.flatMap((type): (GraphQLArgument | GraphQLInputField)[] => {
      if (isInputObjectType(type)) return Object.values(type.getFields());
      if (!isObjectType(type) && !isInterfaceType(type)) return [];
      return Object.values(type.getFields()).flatMap(({ args }) => [...args]);
    });
    const filters = members.filter(({ name }) => /filter$/i.test(name));
    expect(new Set(filters.map(({ type }) => getNamedType(type)))).toEqual(
      new Set(named('Filter')),
    );
  });

  it('are ordered by a field and a direction, and filtered by any of some values, of none by all', () => {
    for (const type of named('Order')) {
      if (!isInputObjectType(type)) throw new Error(`${type.name} is no input type`);
      const { field, direction, ...more } = type.getFields();
      expect(String(field?.type)).toBe(`${type.name}Field!`);
      expect(String(direction?.type)).toBe('OrderDirection!');
      expect(more).toEqual({});
    }
    for (const type of named('Filter')) {
      if (!isInputObjectType(type)) throw new Error(`${type.name} is no input type`);
      const { status } = type.getFields();
      if (status) expect(String(status.type)).toMatch(/^\[\w+Status!\]$/);
      const whole = /An empty list matches all\./.test(type.description ?? '');
      for (const field of Object.values(type.getFields())) {
        if (!isListType(getNullableType(field.type)) || whole) continue;
        expect([type.name, field.name, field.description]).toEqual([
          type.name,
          field.name,
          expect.stringContaining('to include. Default, and when empty: all'),
        ]);
      }
    }
  });
});

describe('names', () => {
  const objects = types.filter((type) => isObjectType(type) || isInputObjectType(type));

  it('are not shared by lists of objects and their numbers', () => {
    const fields = objects.filter(isObjectType).flatMap((type) => Object.values(type.getFields()));
    const isOfObjects = ({ type }: (typeof fields)[number]) => isObjectType(getNamedType(type));
    const lists = new Set(fields.filter(isOfObjects).map(({ name }) => name));
    const numbers = objects.filter(isObjectType).flatMap((type) =>
      Object.values(type.getFields())
        .filter((field) => getNamedType(field.type).name === 'Int' && !field.deprecationReason)
        .filter(({ name }) => name.endsWith('s') && lists.has(name))
        .map(({ name }) => `${type.name}.${name}`),
    );
    expect(numbers).toEqual([]);
  });

  it('that are deprecated lead to the one beside them that replaces them', () => {
    let count = 0;
    for (const type of objects) {
      const fields = type.getFields();
      for (const { name, deprecationReason } of Object.values(fields)) {
        if (!deprecationReason) continue;
        count += 1;
        const [, replacement = ''] = /^Use `(\w+)` instead\.$/.exec(deprecationReason) ?? [];
        expect({ name, known: Object.keys(fields) }).toEqual({
          name,
          known: expect.arrayContaining([replacement]),
        });
        expect(fields[replacement]?.deprecationReason).toBeUndefined();
      }
    }
    expect(count).toBeGreaterThan(10);
  });
});

describe('delete mutations', () => {
  /** Mutations that delete by a filter return a count too, because they may delete a million objects. */
  const COUNTED: Record<string, string> = { DeleteContactsPayload: 'contactCount' };

  it('return the id of what was deleted', () => {
    for (const [name, type] of Object.entries(schema.getTypeMap())) {
      const [, what] = /^Delete(\w+?)s?Payload$/.exec(name) ?? [];
      if (!what || !isObjectType(type)) continue;
      const fields = Object.keys(type.getFields());
      const deleted = fields.filter((field) => field.startsWith('deleted'));
      const counted = COUNTED[name];
      if (counted) expect(fields).toContain(counted);
      expect(deleted).toEqual([expect.stringMatching(new RegExp(`^deleted${what}Ids?$`))]);
    }
    expect(Object.keys(schema.getTypeMap())).toEqual(expect.arrayContaining(Object.keys(COUNTED)));
  });
});

describe('object types', () => {
  it('implement Node when they have an id', () => {
    const others = types.filter(
      (type) =>
        isObjectType(type) &&
        type.getFields().id !== undefined &&
        !type.getInterfaces().some(({ name }) => name === 'Node'),
    );
    expect(others.map(({ name }) => name)).toEqual([]);
  });
});

describe('scalars', () => {
  const names = types
    .filter((type) => isScalarType(type) && !isSpecifiedScalarType(type))
    .map(({ name }) => name);

  it('have a TypeScript type in truedy-graphql/scalars', () => {
    expect(Object.keys(scalars).sort()).toEqual(['ID', ...names].sort());
  });

  it('have a row with the same type in docs/scalars.md', () => {
    const rows = readFileSync('docs/scalars.md', 'utf8').matchAll(
      /^\| `(\w+)` \|[^|]*\| `(.+?)` \|/gm,
    );
    const documented = Object.fromEntries(
      [...rows].map(([, name, type]) => [name, type?.replace('\\|', '|')]),
    );
    expect(documented).toEqual(scalars);
  });
});
