/** What is read of an answer of the language model. */
import { describe, expect, it } from 'vitest';
import { readVerdict } from '../../src/analysis/verdict.ts';
import { schemaViolation } from '../../src/infra/json-schema/validate.ts';
import { SCHEMA } from './server.ts';

describe('readVerdict', () => {
  const task = { successCriteria: 'x', extractionSchema: SCHEMA };

  it('reads an answer in a fence, and ignores what was not asked for', async () => {
    const answer = {
      success: false,
      reason: 'No.',
      extractedData: { day: 'x', people: 3 },
      cost: 0,
    };
    expect(await readVerdict(task, `\`\`\`json\n${JSON.stringify(answer)}\n\`\`\``)).toEqual({
      success: false,
      reason: 'No.',
      extractedData: { day: 'x', people: 3 },
      findings: { answeredBy: null, answeredByQuote: null, doNotCallQuote: null },
      problem: null,
    });
  });

  it('refuses data in another format', async () => {
    const extractionSchema = {
      type: 'object',
      properties: { day: { type: 'string', format: 'date' } },
    };
    const answer = JSON.stringify({ extractedData: { day: 'tomorrow' } });
    const verdict = await readVerdict({ successCriteria: null, extractionSchema }, answer);
    expect(verdict.extractedData).toBeNull();
    expect(verdict.problem).toContain('must match format "date"');
  });

  it('leaves out findings of another form', async () => {
    const findings = { answeredBy: 'ROBOT', answeredByQuote: 7, doNotCallQuote: ['x'] };
    expect((await readVerdict(task, JSON.stringify(findings))).findings).toEqual({
      answeredBy: null,
      answeredByQuote: null,
      doNotCallQuote: null,
    });
  });

  it.each([
    ['', 'JSON object'],
    ['[]', 'JSON object'],
    ['{"success":"yes","extractedData":{"day":"x","people":3}}', 'succeeded'],
    ['{"success":true}', 'must be object'],
    ['{"success":true,"extractedData":{"day":"x","people":1}}', 'must be >= 2'],
  ])('reports what is wrong with %s', async (text, problem) => {
    expect((await readVerdict(task, text)).problem).toContain(problem);
  });

  it.each([
    ['with escapes', '{"extractedData":{"a\\u0000b":{"\\ud800":"x\\u0000"}}}'],
    // As a part of other JSON, in which it had escapes.
    ['without escapes', '{"extractedData":{"ab":{"\ud800":"x"}}}'],
  ])('removes from keys and texts %s what cannot be stored', async (_, answer) => {
    const open = { successCriteria: null, extractionSchema: { type: 'object' } };
    expect((await readVerdict(open, answer)).extractedData).toEqual({ ab: { '\ufffd': 'x' } });
  });

  it('ends a validation that a pattern makes endless', async () => {
    const schema = { type: 'object', properties: { a: { type: 'string', pattern: '^(a+)+$' } } };
    const problem = await schemaViolation(
      { schema, data: { a: `${'a'.repeat(40)}!` }, name: 'extractedData' },
      1_000,
    );
    expect(problem).toContain('could not be validated');
  });
});
