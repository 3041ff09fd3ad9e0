/** Figures compared with an independent count of the same calls, across clock changes in several time zones. */
import { changesSuite } from './changes.suite.ts';
import { figuresSuite } from './figures.suite.ts';
import { useAnalyticsServer } from './server.ts';

useAnalyticsServer();
figuresSuite();
changesSuite();
