/** The suites of idempotency keys, on one server. */
import { replaysSuite } from './replays.suite.ts';
import { rerunsSuite } from './reruns.suite.ts';
import { useIdempotencyServer } from './server.ts';

useIdempotencyServer();
replaysSuite();
rerunsSuite();
