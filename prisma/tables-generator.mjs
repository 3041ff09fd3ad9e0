/** Prisma generator: writes the tables, columns and relations of the models to `src/generated/tables.ts`. */
import { writeFile } from 'node:fs/promises';
import generatorHelper from '@prisma/generator-helper';

generatorHelper.generatorHandler({
  onManifest: () => ({ prettyName: 'Tables', defaultOutput: '../src/generated/tables.ts' }),
  async onGenerate({ dmmf, generator }) {
    const { models } = dmmf.datamodel;
    const tables = Object.fromEntries(models.map((model) => [model.name, tableOf(model, models)]));
    await writeFile(
      String(generator.output?.value),
      `import type { Tables } from '../infra/rows/tables.ts';\n\nexport const TABLES: Tables = ${JSON.stringify(tables, null, 2)};\n`,
    );
  },
});

function tableOf({ name, dbName, fields }, models) {
  const isRelation = ({ kind }) => kind === 'object';
  return {
    name: dbName ?? name,
    columns: Object.fromEntries(
      fields
        .filter((field) => !isRelation(field))
        .map((field) => [
          field.name,
          {
            name: field.dbName ?? field.name,
            type: field.type,
            isList: field.isList,
            ...(field.documentation?.includes('@large') ? { isLarge: true } : {}),
          },
        ]),
    ),
    relations: Object.fromEntries(
      fields
        .filter(isRelation)
        .map((field) => [
          field.name,
          { model: field.type, isList: field.isList, on: joinOf(field, models) },
        ]),
    ),
  };
}

/** Pairs of a field and the field of the other model that equals it. */
function joinOf({ type, name, relationName, relationFromFields, relationToFields }, models) {
  if (relationFromFields.length > 0) {
    return relationFromFields.map((from, index) => [from, relationToFields[index]]);
  }
  const other = models
    .find((model) => model.name === type)
    .fields.find(
      (field) =>
        field.relationName === relationName &&
        field.name !== name &&
        field.relationFromFields.length > 0,
    );
  return other.relationToFields.map((to, index) => [to, other.relationFromFields[index]]);
}
