/**
 * Rows that Pothos reads again for a field, because the statement that read them had other arguments for its relation.
 * Pothos determines what the field selects once for each path, but other fields may have the same path below objects
 * of other types.
 */
import SchemaBuilder, {
  BasePlugin,
  createContextCache,
  type PothosTypeConfig,
  type SchemaTypes,
} from '@pothos/core';
import type { GraphQLResolveInfo } from 'graphql';
import { placeOf } from './row-selection.ts';

declare global {
  export namespace PothosSchemaTypes {
    export interface Plugins<Types extends SchemaTypes> {
      reloadedRows: ReloadedRowsPlugin<Types>;
    }
  }
}

const NAME = 'reloadedRows';

/** The part of the loader of a type that determines what a field selects. Of its path, only the text matters. */
interface Loader {
  getSelection(info: GraphQLResolveInfo): unknown;
}

class ReloadedRowsPlugin<Types extends SchemaTypes> extends BasePlugin<Types> {
  override onTypeConfig(type: PothosTypeConfig): PothosTypeConfig {
    const loaderOf = type.extensions?.pothosPrismaLoader as
      | ((context: object) => Loader)
      | undefined;
    if (!loaderOf) return type;
    const pothosPrismaLoader = createContextCache((context) => {
      const loader = loaderOf(context);
      const getSelection = loader.getSelection.bind(loader);
      loader.getSelection = (info) => {
        const place = { prev: undefined, key: placeOf(info), typename: undefined };
        return getSelection({ ...info, path: { ...info.path, prev: place } });
      };
      return loader;
    });
    return { ...type, extensions: { ...type.extensions, pothosPrismaLoader } };
  }
}

SchemaBuilder.registerPlugin(NAME, ReloadedRowsPlugin);

export default NAME;
