/** Work after the end of a call: transcript, summary, findings, and the steps. */
import { usePostCallServer } from './server.ts';
import { stepsSuite } from './steps.suite.ts';
import { transcriptSuite } from './transcript.suite.ts';

usePostCallServer();
transcriptSuite();
stepsSuite();
