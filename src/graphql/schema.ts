/** The whole graph: importing this adds every feature's types to the builder. */
import './scalars.ts';
import './errors.ts';
import '../organizations/schema.ts';
import '../calls/schema.ts';
import '../calls/events-schema.ts';
import '../phone-numbers/schema.ts';
import { builder } from './builder.ts';

export const schema = builder.toSchema();
