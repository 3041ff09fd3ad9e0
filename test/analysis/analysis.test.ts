/** Verdicts on calls, and data extracted from calls. */
import { answersSuite } from './answers.suite.ts';
import { requestsSuite } from './requests.suite.ts';
import { useAnalysisServer } from './server.ts';

useAnalysisServer();
answersSuite();
requestsSuite();
