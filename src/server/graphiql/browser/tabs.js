/** Opens GraphiQL with the tabs of the last visit. Tabs that were not edited are updated from the page. */

const SHOWN = 'truedy:tabs';
const { workers, options } = JSON.parse(document.querySelector('#settings').textContent);
self.MonacoEnvironment = { globalAPI: false, getWorkerUrl: (_module, label) => workers[label] };

const read = (name) => {
  try {
    return JSON.parse(localStorage.getItem(name) ?? 'null');
  } catch {
    return null;
  }
};
const contentOf = ({ query, variables }) => JSON.stringify([query ?? '', variables ?? '']);

// Headers that the user typed are kept if GraphiQL's own setting says so. It reads that setting only from here.
const keepsHeaders = localStorage.getItem('graphiql:shouldPersistHeaders') === 'true';
const stored = read('graphiql:tabState');
const shown = new Map((read(SHOWN) ?? []).map((content, index) => [content, index]));
const defaults = options.defaultTabs;
let tabs = defaults;
let active = 0;
if (Array.isArray(stored?.tabs) && stored.tabs.length > 0) {
  tabs = stored.tabs.map((tab) => {
    const fresh = defaults[shown.get(contentOf(tab))];
    const { query, variables, headers } = tab;
    const kept = keepsHeaders && headers !== read('truedy:headers') ? headers : null;
    return { ...(fresh ?? { query, variables }), headers: kept ?? options.defaultHeaders };
  });
  active = Math.min(stored.activeTabIndex ?? 0, tabs.length - 1);
}
localStorage.setItem(SHOWN, JSON.stringify(defaults.map(contentOf)));
localStorage.setItem('truedy:headers', JSON.stringify(options.defaultHeaders));
// GraphiQL would add an empty tab to stored ones.
for (const name of ['tabState', 'query', 'variables', 'headers']) {
  localStorage.removeItem(`graphiql:${name}`);
}

const numbers = new Map(
  defaults.map(({ query }, index) => [
    /^(?:query|mutation|subscription)\s+(\w+)/m.exec(query)?.[1],
    index + 1,
  ]),
);
const labelTabs = () => {
  for (const tab of document.querySelectorAll('.graphiql-tab-button')) {
    const number = numbers.get(tab.textContent);
    if (number === undefined) tab.removeAttribute('data-number');
    else if (tab.dataset.number !== String(number)) tab.dataset.number = number;
  }
};

document.addEventListener('DOMContentLoaded', () => {
  const root = document.querySelector('#root');
  let isFirst = true;
  new MutationObserver(() => {
    labelTabs();
    const buttons = root.querySelectorAll('.graphiql-tab-button');
    if (!isFirst || buttons.length < tabs.length) return;
    isFirst = false;
    if (active > 0) buttons[active].click();
  }).observe(root, { childList: true, subtree: true, characterData: true });
  window.YogaGraphiQL.renderYogaGraphiQL(root, {
    ...options,
    defaultTabs: tabs,
    shouldPersistHeaders: keepsHeaders,
    showPersistHeadersSettings: true,
  });
});
