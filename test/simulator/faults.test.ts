import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { type Api, apiOf } from './harness.ts';

let simulator: Simulator;
let api: Api;

beforeEach(async () => {
  simulator = await startSimulator({ speed: 100 });
  api = apiOf(simulator);
});
afterEach(() => simulator.close());

describe('faults of the simulator', () => {
  it('return a status as often as configured, with Retry-After', async () => {
    const fault = { kind: 'status', status: 429, retryAfterSeconds: 7, count: 2, method: 'POST' };
    expect((await api('PUT', '/simulator/faults', { faults: [fault] })).status).toBe(200);
    const create = () => api('POST', '/api/agents', { name: 'x' });
    expect((await api('GET', '/api/agents')).status).toBe(200);
    const first = await create();
    expect(first.status).toBe(429);
    expect(first.headers.get('retry-after')).toBe('7');
    expect((await create()).status).toBe(429);
    expect((await create()).status).toBe(201);
  });

  it('drop a connection before or after the work is done', async () => {
    const create = () => api('POST', '/api/agents', { name: 'x' });
    simulator.setFaults([{ kind: 'dropBefore', path: '^/api/agents', count: 1 }]);
    await expect(create()).rejects.toThrow();
    expect(simulator.state().agents).toBe(0);
    simulator.setFaults([{ kind: 'dropAfter', path: '^/api/agents', count: 1 }]);
    await expect(create()).rejects.toThrow();
    expect(simulator.state().agents).toBe(1);
  });

  it('delay, truncate or withhold a response', async () => {
    simulator.setFaults([{ kind: 'slow', ms: 150, count: 1 }]);
    const before = Date.now();
    await api('GET', '/api/models');
    expect(Date.now() - before).toBeGreaterThanOrEqual(145);
    simulator.setFaults([{ kind: 'truncate', count: 1 }]);
    await expect(api('GET', '/api/models')).rejects.toThrow();
    simulator.setFaults([{ kind: 'timeout', count: 1 }]);
    const options = {
      headers: { 'x-api-key': simulator.apiKey },
      // Long enough that the request has arrived.
      signal: AbortSignal.timeout(2_000),
    };
    await expect(fetch(`${simulator.url}/api/models`, options)).rejects.toThrow();
    expect((await api('GET', '/api/models')).status).toBe(200);
  });

  it('affect the same requests for the same seed', async () => {
    const strikes = async () => {
      simulator.setFaults([{ kind: 'status', status: 500, probability: 0.5 }], 42);
      const statuses: number[] = [];
      for (let index = 0; index < 20; index += 1) {
        statuses.push((await api('GET', '/api/models')).status);
      }
      return statuses;
    };
    const first = await strikes();
    expect(new Set(first)).toEqual(new Set([200, 500]));
    expect(await strikes()).toEqual(first);
  });

  it('are rejected when invalid, and can be removed', async () => {
    expect((await api('PUT', '/simulator/faults', { faults: [{ kind: 'flood' }] })).status).toBe(
      400,
    );
    const bad = { kind: 'status', path: '(' };
    expect((await api('PUT', '/simulator/faults', { faults: [bad] })).status).toBe(400);
    await api('PUT', '/simulator/faults', { faults: [{ id: 'one', kind: 'slow', ms: 1 }] });
    expect((await api('DELETE', '/simulator/faults/one')).status).toBe(204);
    expect((await api('GET', '/simulator/faults')).body.faults).toEqual([]);
    expect((await api('PATCH', '/simulator/settings', { speed: 'fast' })).status).toBe(400);
    expect((await api('PATCH', '/simulator/settings', { unheardOf: 1 })).status).toBe(400);
  });
});
