/** Mutations of existing campaigns, access to campaigns, and a campaign from start to end. */
import { accessSuite } from './access.suite.ts';
import { changesSuite } from './changes.suite.ts';
import { useLifecycleServer } from './server.ts';

useLifecycleServer();
changesSuite();
accessSuite();
