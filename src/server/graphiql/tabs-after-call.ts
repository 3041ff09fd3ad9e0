/** GraphiQL tabs about what follows a call, for calls of the demo or of earlier tabs. */
import type { Tab, TabIds } from './tab.ts';

const afterCall = (): Tab => ({
  query: `# 13. What follows a call, seconds after its end.
# To hear it, open recording.url in another browser tab.
# postCallSteps shows the progress of each part.
query AfterCalls {
  calls(first: 5, filter: { status: [COMPLETED] }) {
    nodes {
      id
      toNumber
      answeredBy
      answeredByEvidence
      shortSummary
      outcome { success reason }
      extractedData
      recording { status url durationSeconds }
      transcript { nodes { speaker startSeconds text toolName toolArguments toolResult } }
      postCallSteps { kind status attemptCount detail }
    }
  }
}`,
});

const searchTranscripts = (): Tab => ({
  query: `# 14. Find calls by words in their transcripts.
query SearchTranscripts($filter: CallFilter!) {
  calls(first: 20, filter: $filter) {
    totalCount
    nodes { id createdAt toNumber shortSummary doNotCallRequested }
  }
}`,
  variables: { filter: { transcript: 'thursday appointment', answeredBy: 'HUMAN' } },
});

const liveTurns = (): Tab => ({
  query: `# 15. Read live calls as they are spoken. Start this,
# then place a call in tab 5.
subscription LiveTurns($types: [CallEventType!]) {
  callEvents(types: $types) {
    type
    callId
    turn { speaker endSeconds text toolName }
  }
}`,
  variables: { types: ['IN_PROGRESS', 'TRANSCRIPT_TURN', 'COMPLETED', 'ANALYZED'] },
});

const analyzeCall = ({ callId }: TabIds): Tab => ({
  query: `# 16. Analyze a call again, for example after the
# success criteria of its agent were changed.
mutation AnalyzeCall($input: AnalyzeCallInput!) {
  analyzeCall(input: $input) {
    call { id analysis { status error model durationSeconds inputTokens outputTokens } }
    userErrors { code message path }
  }
}`,
  variables: { input: { id: callId } },
});

export const AFTER_CALL_TABS = [afterCall, searchTranscripts, liveTurns, analyzeCall];
