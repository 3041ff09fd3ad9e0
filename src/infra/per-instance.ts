/** State of one instance of an object, such as an `App`, in place of module variables. */

/** Returns a function for the state of an instance. The state is created at its first use. */
export function perInstance<Instance extends object, State>(
  create: (instance: Instance) => State,
): (instance: Instance) => State {
  const states = new WeakMap<Instance, { state: State }>();
  return (instance) => {
    let entry = states.get(instance);
    if (!entry) {
      entry = { state: create(instance) };
      states.set(instance, entry);
    }
    return entry.state;
  };
}
