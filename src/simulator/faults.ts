/** Faults that are injected into requests and deliveries. */
import { z } from 'zod';

const name = z.string().min(1).max(100);

/** A fault to inject. Kinds that start with `webhook` affect deliveries; the others affect requests. */
export const faultSchema = z.strictObject({
  id: name.optional(),
  kind: z.enum([
    'status',
    'statusAfter',
    'slow',
    'timeout',
    'dropBefore',
    'dropAfter',
    'truncate',
    'webhookLost',
    'webhookDuplicate',
    'webhookReorder',
    'webhookDelay',
    'webhookBadSignature',
    'webhookStaleTimestamp',
  ]),
  probability: z.number().min(0).max(1).default(1),
  /** How many more times the fault occurs. Null: unlimited. */
  count: z.number().int().min(0).nullable().default(null),
  /** Only requests with this method. */
  method: z.string().optional(),
  /** Only request paths that match this regular expression. */
  path: z
    .string()
    .refine((value) => canCompile(value), 'not a regular expression')
    .optional(),
  /** Only deliveries of this event. */
  event: z.string().optional(),
  /** For kinds `status` and `statusAfter`. */
  status: z.number().int().min(400).max(599).default(503),
  retryAfterSeconds: z.number().int().min(0).nullable().default(null),
  /** For kinds `slow` and `webhookDelay`, in real milliseconds. */
  ms: z.number().int().min(0).max(3_600_000).default(1000),
});

export type Fault = z.infer<typeof faultSchema> & { id: string };
/** Input for a fault; members with a default may be omitted. */
export type FaultInput = z.input<typeof faultSchema>;
export type FaultKind = Fault['kind'];

export interface FaultState {
  faults: Fault[];
  seed: number;
}

export interface Faults {
  state(): FaultState;
  replace(faults: FaultInput[], seed?: number): void;
  remove(id: string): boolean;
  /** Selects among the matching faults by probability. Each selection reduces the `count` of a fault by one. */
  select(fits: (fault: Fault) => boolean): Fault[];
}

export function createFaults(initial: FaultState, changed: (state: FaultState) => void): Faults {
  let faults = initial.faults;
  let seed = initial.seed;
  let random = generator(seed);

  return {
    state: () => ({ faults, seed }),
    replace(inputs, newSeed) {
      faults = inputs.map((input, index) => {
        const fault = faultSchema.parse(input);
        return { ...fault, id: fault.id ?? `fault-${index + 1}` };
      });
      if (newSeed !== undefined) seed = newSeed;
      random = generator(seed);
      changed({ faults, seed });
    },
    remove(id) {
      const left = faults.filter((fault) => fault.id !== id);
      if (left.length === faults.length) return false;
      faults = left;
      changed({ faults, seed });
      return true;
    },
    select(fits) {
      const selected = faults.filter(
        (fault) => fault.count !== 0 && fits(fault) && random() < fault.probability,
      );
      if (selected.some((fault) => fault.count !== null)) {
        faults = faults.map((fault) =>
          selected.includes(fault) && fault.count !== null
            ? { ...fault, count: fault.count - 1 }
            : fault,
        );
        changed({ faults, seed });
      }
      return selected;
    },
  };
}

export function fitsRequest(fault: Fault, method: string, path: string): boolean {
  return (
    !fault.kind.startsWith('webhook') &&
    (fault.method === undefined || fault.method.toUpperCase() === method) &&
    (fault.path === undefined || new RegExp(fault.path).test(path))
  );
}

export function fitsDelivery(fault: Fault, event: string): boolean {
  return fault.kind.startsWith('webhook') && (fault.event === undefined || fault.event === event);
}

/** Mulberry32 pseudorandom numbers, reproducible from a seed. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function canCompile(source: string): boolean {
  try {
    new RegExp(source);
    return true;
  } catch {
    return false;
  }
}
