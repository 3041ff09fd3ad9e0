/**
 * Lists every event of the subscriptions that GraphiQL starts, below GraphiQL. GraphiQL itself shows only the last
 * result, and ends a subscription when another tab is selected; here it continues until it is stopped.
 */

const MAX_EVENTS = 1_000;
const STOP_CLICK_MS = 500;
const streams = new Map();
const originalFetch = window.fetch;
let stopClickedAt = Number.NEGATIVE_INFINITY;

document.addEventListener(
  'click',
  ({ target }) => {
    if (target.closest?.('.graphiql-execute-button')) stopClickedAt = performance.now();
  },
  true,
);

window.fetch = async (input, init = {}) => {
  const accept = new Headers(init.headers).get('accept') ?? '';
  if (!accept.includes('text/event-stream')) return originalFetch(input, init);
  const ending = new AbortController();
  const response = await originalFetch(input, { ...init, signal: ending.signal });
  const type = response.headers.get('content-type') ?? '';
  if (!response.body || !type.startsWith('text/event-stream')) return response;
  const name = nameOf(input, init);
  streams.get(name)?.stop();
  const stream = { name, count: 0, running: true, stop: () => ending.abort() };
  streams.set(name, stream);
  const [shown, kept] = response.body.tee();
  void keep(stream, kept);
  const reader = shown.getReader();
  // Called for GraphiQL's stop button, and when another tab is selected; only the button stops the subscription.
  const leave = () => {
    void reader.cancel();
    if (performance.now() - stopClickedAt < STOP_CLICK_MS) stream.stop();
  };
  const body = new ReadableStream({
    start(controller) {
      init.signal?.addEventListener('abort', () => {
        leave();
        controller.error(init.signal.reason);
      });
    },
    async pull(controller) {
      const { value, done } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: leave,
  });
  return new Response(body, { status: response.status, headers: response.headers });
};

function nameOf(input, init) {
  const fromUrl = new URL(String(input.url ?? input), location.href).searchParams.get('query');
  const query = fromUrl ?? JSON.parse(init.body ?? '{}').query ?? '';
  return /subscription\s+(\w+)/.exec(query)?.[1] ?? 'subscription';
}

async function keep(stream, body) {
  render();
  let text = '';
  try {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const blocks = (text + value).split('\n\n');
      text = blocks.pop();
      for (const block of blocks) {
        const data = /^data: ?(.+)$/m.exec(block)?.[1];
        if (data && /^event: next$/m.test(block)) add(stream, JSON.parse(data));
      }
    }
  } catch {
    // It was stopped, or the connection was lost. The list shows that it has ended.
  }
  stream.running = false;
  if (streams.get(stream.name) === stream) render();
}

function add(stream, result) {
  stream.count += 1;
  const list = document.querySelector('#events div');
  const panel = list.parentElement;
  const atEnd = panel.scrollHeight - panel.scrollTop - panel.clientHeight < 40;
  const entry = document.createElement('details');
  const summary = document.createElement('summary');
  const time = new Date().toLocaleTimeString('en-GB');
  const short = result.errors ? result : Object.values(result.data ?? {})[0];
  summary.textContent = `${time} ${stream.name} ${stream.count}  ${JSON.stringify(short)}`;
  const whole = document.createElement('pre');
  whole.textContent = JSON.stringify(result, null, 2);
  entry.append(summary, whole);
  list.append(entry);
  while (list.childElementCount > MAX_EVENTS) list.firstElementChild.remove();
  render();
  if (atEnd) panel.scrollTop = panel.scrollHeight;
}

function render() {
  const panel = document.querySelector('#events');
  panel.classList.add('open');
  const header = panel.querySelector('header');
  const parts = ['Events '];
  for (const stream of streams.values()) {
    parts.push(` ${stream.name}: ${stream.count}${stream.running ? ', live' : ', ended'}`);
    if (stream.running) parts.push(button(`Stop ${stream.name}`, stream.stop));
  }
  parts.push(
    button('Clear', () => {
      panel.querySelector('div').replaceChildren();
      for (const [name, { running }] of streams) if (!running) streams.delete(name);
      panel.classList.toggle('open', streams.size > 0);
      if (streams.size > 0) render();
    }),
  );
  header.replaceChildren(...parts);
}

function button(text, onClick) {
  const element = document.createElement('button');
  element.textContent = text;
  element.addEventListener('click', onClick);
  return element;
}
