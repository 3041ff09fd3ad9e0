import type { CodegenConfig } from '@graphql-codegen/cli';
import { scalars } from './clients/scalars.js';

/** Typed documents for the tests, from the printed schema. */
const config: CodegenConfig = {
  schema: 'schema.graphql',
  documents: ['test/**/*.ts', '!test/generated/**'],
  generates: {
    'test/generated/': {
      preset: 'client',
      presetConfig: { fragmentMasking: false },
      config: {
        documentMode: 'string',
        useTypeImports: true,
        enumsAsTypes: true,
        skipTypename: true,
        emitLegacyCommonJSImports: false,
        importExtension: '.ts',
        scalars,
      },
    },
  },
  ignoreNoDocuments: true,
};

export default config;
