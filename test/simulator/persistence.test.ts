import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DEMO_API_KEY, startSimulator } from '../../src/simulator/simulator.ts';
import {
  ALL_EVENTS,
  apiOf,
  billed,
  dial,
  isSigned,
  makeAgent,
  type Receiver,
  startReceiver,
  until,
} from './harness.ts';

let directory: string;
let databasePath: string;
let receiver: Receiver;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'simulator-'));
  databasePath = join(directory, 'simulator.db');
  receiver = await startReceiver();
});
afterEach(async () => {
  await receiver.close();
  rmSync(directory, { recursive: true, force: true });
});

describe('persistence of the simulator', () => {
  it('continues calls, retries, settings and faults of a closed simulator', async () => {
    const first = await startSimulator({ databasePath, speed: 100 });
    const api = apiOf(first);
    receiver.answer(() => 500);
    const hook = { url: receiver.url, events: ALL_EVENTS, secrets: ['s3cret'] };
    await api('POST', '/api/webhooks', hook);
    const agent = await makeAgent(api);
    const call = await dial(api, agent.agentId, '+14155551234');
    first.setFaults([{ id: 'kept', kind: 'slow', ms: 1, method: 'PUT' }]);
    first.updateSettings({ talkSeconds: 30, speed: 200 });
    await until('a failed delivery', () => receiver.received.length > 0);
    await first.close();

    receiver.answer(() => 204);
    const second = await startSimulator({ databasePath, speed: 100 });
    try {
      expect(second.settings()).toMatchObject({ talkSeconds: 30, speed: 200 });
      expect(second.faults()[0]?.id).toBe('kept');
      expect(second.dials().map((entry) => entry.callId)).toEqual([call.callId]);
      expect((await billed(apiOf(second), call.callId)).endReason).toBe('hangup');
      await until('every event to be delivered', () =>
        second.deliveries().every((item) => item.state === 'delivered'),
      );
      expect(new Set(receiver.received.map((item) => item.event))).toEqual(new Set(ALL_EVENTS));
      expect(receiver.received.every((item) => isSigned(item, 's3cret'))).toBe(true);
      expect((await apiOf(second)('GET', `/api/agents/${agent.agentId}`)).body.statistics).toEqual({
        calls: 1,
      });
      await apiOf(second)('POST', '/simulator/receiver/mine', { event: 'call.ended' });
      second.reset();
      expect(second.settings()).toMatchObject({ talkSeconds: 45, speed: 100 });
      const received = await apiOf(second)('GET', '/simulator/receiver/mine');
      expect(received.body.results).toEqual([]);
    } finally {
      await second.close();
    }
  });
});

describe('persistence of the simulator', () => {
  it('runs jobs that were stored under the former name of their task', async () => {
    const first = await startSimulator({ databasePath, speed: 100 });
    const api = apiOf(first);
    const agent = await makeAgent(api);
    const { callId } = await dial(api, agent.agentId, '+14155551234');
    await billed(api, callId);
    await first.close();
    const database = new DatabaseSync(databasePath);
    const job = { id: `summarise:${callId}`, dueAt: 0, task: 'summarise', subject: callId };
    database.prepare(`DELETE FROM records WHERE kind = 'jobs'`).run();
    database
      .prepare(`UPDATE records SET body = json_remove(body, '$.call.summary') WHERE kind = 'calls'`)
      .run();
    database
      .prepare(`INSERT INTO records (kind, id, seq, body) VALUES ('jobs', ?, 1000000, ?)`)
      .run(job.id, JSON.stringify(job));
    database.close();
    const second = await startSimulator({ databasePath, speed: 100 });
    try {
      await until('the summary', async () => {
        return (await apiOf(second)('GET', `/api/calls/${callId}`)).body.summary;
      });
    } finally {
      await second.close();
    }
  });
});

function run(speed: string): Promise<{ process: ChildProcess; url: string }> {
  const child = spawn(process.execPath, ['src/simulator/main.ts'], {
    env: {
      ...process.env,
      SIMULATOR_PORT: '0',
      SIMULATOR_DATA: databasePath,
      SIMULATOR_SPEED: speed,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return new Promise((resolve, reject) => {
    let printed = '';
    child.once('exit', (code) => reject(new Error(`exited with ${code}`)));
    child.stdout.on('data', (part) => {
      printed += part;
      const url = /http:\/\/\S+/.exec(printed)?.[0];
      if (url !== undefined && printed.includes('steering')) resolve({ process: child, url });
    });
  });
}

function kill(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
  });
}

describe('persistence of the simulator', () => {
  it('keeps everything that was acknowledged when the process is killed', async () => {
    const first = await run('20');
    const api = apiOf({ url: first.url, apiKey: DEMO_API_KEY });
    await api('POST', '/api/webhooks', {
      url: receiver.url,
      events: ALL_EVENTS,
      secrets: ['s3cret'],
    });
    const agent = await makeAgent(api);
    const calls = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        dial(api, agent.agentId, `+141555512${String(index + 10)}`),
      ),
    );
    await kill(first.process);

    const second = await run('20');
    try {
      const after = apiOf({ url: second.url, apiKey: DEMO_API_KEY });
      const ended = await Promise.all(calls.map((call) => billed(after, call.callId)));
      expect(ended.every((call) => call.endReason === 'hangup')).toBe(true);
      const dials = (await after('GET', '/simulator/dials')).body.results;
      expect(dials).toHaveLength(20);
      await until('every event of every call', () =>
        calls.every(({ callId }) => {
          const own = receiver.received.filter((item) => item.callId === callId);
          return ALL_EVENTS.every((event) => own.some((item) => item.event === event));
        }),
      );
    } finally {
      await kill(second.process);
    }
  });
});
