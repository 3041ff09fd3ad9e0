/** Building blocks of the schemas that parse responses and webhooks of Ultravox. */
import { z } from 'zod';
import type { JsonObject, Metadata } from './payloads.ts';

/** Unknown members are kept at run time but stay out of the type, so a typo is still an error. */
export const extensible = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z.looseObject(shape) as unknown as z.ZodObject<Shape, z.core.$strip>;

export const timestamp = z
  .string()
  .refine((value) => !Number.isNaN(Date.parse(value)), { error: 'not a timestamp' });

/** Visible ASCII. Bounded, because IDs are stored in indexes of the database, which refuse long values. */
export const id = z.string().regex(/^[!-~]{1,200}$/);

/** A missing member becomes null. Any other type fails: for members on which the state of a call depends. */
export const strictOrNull = <Schema extends z.ZodType>(schema: Schema) =>
  schema.nullable().default(null as never);

/** A missing member becomes null, and so does one of another type, since Ultravox changes types without notice. */
export const orNull = <Schema extends z.ZodType>(schema: Schema) =>
  strictOrNull(schema).catch(null as never);

/** A missing member, null, or a member of another type becomes `value`. */
export const orElse = <Schema extends z.ZodType>(schema: Schema, value: z.output<Schema>) =>
  orNull(schema).transform(
    (given): z.output<Schema> => (given === null ? value : given) as z.output<Schema>,
  );

/** A number, also as text: 64-bit integers of protobuf messages are strings. */
export const number = z.union([
  z.number(),
  z
    .string()
    .regex(/^-?\d+$/)
    .transform(Number),
]);

/** A duration such as `42s`, or a number of seconds. */
export const duration = z.union([z.string(), z.number().transform((seconds) => `${seconds}s`)]);

export const openEnum = <Value extends string>() =>
  z.string() as unknown as z.ZodType<Value, Value>;

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** An `ultravox.v1.*` message: an object whose unset members are absent rather than null. */
export const messageOf = <Value>() =>
  z
    .custom<Value>(isObject, { error: 'not an object' })
    .transform(
      (value) =>
        Object.fromEntries(
          Object.entries(value as JsonObject).filter(([, member]) => member !== null),
        ) as Value,
    );

export const messagesOf = <Value>() => orElse(z.array(messageOf<Value>()), []);

/** Keys that start with `ultravox.` are the vendor's, and their values need not be strings. */
export const metadata = strictOrNull(z.record(z.string(), z.unknown())).transform(
  (record): Metadata =>
    Object.fromEntries(
      Object.entries(record ?? {}).map(([key, value]) => [
        key,
        typeof value === 'string' ? value : JSON.stringify(value),
      ]),
    ),
);
