/** State per instance of an object, such as an `App`, instead of module variables. */

/** The original instance of each variant. */
const originalOf = new WeakMap<object, object>();

/**
 * Returns a function that returns the state of an instance. The state is created on first use. Variants of an
 * instance share its state, which is created for the instance itself.
 */
export function perInstance<Instance extends object, State>(
  create: (instance: Instance) => State,
): (instance: Instance) => State {
  const states = new WeakMap<Instance, { state: State }>();
  return (given) => {
    const instance = (originalOf.get(given) ?? given) as Instance;
    let entry = states.get(instance);
    if (!entry) {
      entry = { state: create(instance) };
      states.set(instance, entry);
    }
    return entry.state;
  };
}

/** A copy of the instance with some members replaced. Members with a getter keep it, so that it is not called here. */
export function variantOf<Instance extends object>(
  instance: Instance,
  changes: Partial<Instance>,
): Instance {
  const variant = Object.defineProperties({} as Instance, {
    ...Object.getOwnPropertyDescriptors(instance),
    ...Object.getOwnPropertyDescriptors(changes),
  });
  originalOf.set(variant, originalOf.get(instance) ?? instance);
  return variant;
}
