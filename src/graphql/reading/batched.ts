/** Loaders that read values for many objects of one execution with one statement. */
import DataLoader from 'dataloader';
import type { Context } from '../context.ts';

/** The part of the context that a loader needs. */
export type Reader = Pick<Context, 'app' | 'execution'> & {
  viewer: NonNullable<Context['viewer']>;
};

/** @throws Error without a viewer, that is, in a field that no scope protects. */
export function readerOf({ app, execution, viewer }: Context): Reader {
  if (!viewer) throw new Error('A loader was used without a viewer');
  return { app, execution, viewer };
}

/**
 * A loader that collects the keys requested in one tick. `read` receives them, with duplicates, and
 * returns one value per key, in the same order. Each execution has its own loader, so all keys of
 * a batch belong to one viewer. Values are not cached, because a mutation may follow another in the
 * same execution.
 */
export function batched<Key, Value>(
  read: (reader: Reader, keys: readonly Key[]) => Promise<readonly Value[]>,
): (reader: Reader, key: Key) => Promise<Value> {
  const loaders = new WeakMap<object, DataLoader<Key, Value>>();
  return (reader, key) => {
    let loader = loaders.get(reader.execution);
    if (!loader) {
      loader = new DataLoader((keys) => read(reader, keys), { cache: false });
      loaders.set(reader.execution, loader);
    }
    return loader.load(key);
  };
}
