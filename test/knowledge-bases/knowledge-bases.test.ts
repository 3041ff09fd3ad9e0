/** The suites of knowledge bases and their sources, on one server. */
import { knowledgeBasesSuite } from './knowledge-bases.suite.ts';
import { useKnowledgeServer } from './server.ts';
import { sourcesSuite } from './sources.suite.ts';

useKnowledgeServer();
knowledgeBasesSuite();
sourcesSuite();
