/** The whole graph: importing this adds every feature's types to the builder. */
import './scalars.ts';
import './errors.ts';
import '../agents/schema.ts';
import '../agents/updates.ts';
import '../organizations/schema.ts';
import '../knowledge-bases/schema.ts';
import '../tools/schema.ts';
import '../voices/schema.ts';
import '../calls/schema.ts';
import '../calls/mutations-schema.ts';
import '../calls/events-schema.ts';
import '../contacts/schema.ts';
import '../contacts/mutations-schema.ts';
import '../contacts/do-not-call-schema.ts';
import '../contacts/import-schema.ts';
import '../phone-numbers/schema.ts';
import '../phone-numbers/mutations-schema.ts';
import '../campaigns/schema.ts';
import '../campaigns/contacts-schema.ts';
import '../campaigns/decisions-schema.ts';
import '../campaigns/mutations-schema.ts';
import '../campaigns/forecast-schema.ts';
import { builder } from './builder.ts';

export const schema = builder.toSchema();
