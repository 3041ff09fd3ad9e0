/**
 * Which folder may import which: the table of the README.
 *
 * @type {import('dependency-cruiser').IConfiguration}
 */

/** Features from left to right: a feature imports only those further right. */
const FEATURES = [
  ['webhooks', 'analytics'],
  ['campaigns', 'analysis'],
  ['calls'],
  ['agents', 'contacts'],
  ['phone-numbers', 'voices', 'tools', 'knowledge-bases'],
  ['organizations'],
];
const ANY_FEATURE = FEATURES.flat().join('|');
/** A folder or a file of `src/` that may be imported from everywhere below the entry points. */
const generated = 'src/generated/';

const only = (name, from, allowed) => ({
  name,
  severity: 'error',
  from,
  to: { path: '^src/', pathNot: [...allowed.map((path) => `^${path}`)] },
});

const featureRules = FEATURES.flatMap((names, rank) =>
  names.map((name) => ({
    name: `${name}-imports-features-to-its-right`,
    severity: 'error',
    from: { path: `^src/${name}/` },
    to: {
      path: `^src/(${ANY_FEATURE})/`,
      pathNot: `^src/(${[name, ...FEATURES.slice(rank + 1).flat()].join('|')})/`,
    },
  })),
);

export default {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'Type imports count too: files that know each other are read as one.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/generated/' },
      to: { circular: true },
    },
    {
      name: 'no-unresolvable',
      severity: 'error',
      from: { path: '^(src|test|bench)/' },
      to: { couldNotResolve: true },
    },
    only('config-errors-and-ids-import-nothing', { path: '^src/(config|errors|ids)\\.ts$' }, [
      'src/errors\\.ts$',
    ]),
    only('infra-imports-only-errors-and-ids', { path: '^src/infra/' }, [
      'src/infra/',
      'src/(errors|ids)\\.ts$',
    ]),
    only('ultravox-imports-only-errors', { path: '^src/ultravox/' }, [
      'src/ultravox/',
      'src/errors\\.ts$',
    ]),
    only('simulator-knows-only-the-wire', { path: '^src/simulator/' }, [
      'src/simulator/',
      'src/ultravox/wire(\\.ts|/)',
    ]),
    {
      name: 'simulator-is-loaded-by-the-start-alone',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(simulator/|start\\.ts$)' },
      to: { path: '^src/simulator/' },
    },
    only('app-imports-what-it-is-built-from', { path: '^src/(app|viewer)\\.ts$' }, [
      'src/(app|viewer|config|errors|ids)\\.ts$',
      'src/infra/',
      'src/ultravox/',
      generated,
    ]),
    only('graphql-kit-imports-no-feature', { path: '^src/graphql/' }, [
      'src/graphql/',
      'src/(app|viewer|config|errors|ids)\\.ts$',
      'src/infra/',
      'src/ultravox/',
      generated,
    ]),
    only(
      'live-and-sync-import-no-feature',
      { path: '^src/(live|sync)/', pathNot: '^src/(live|sync)/graph/' },
      [
        'src/(live|sync)/',
        'src/(app|viewer|config|errors|ids)\\.ts$',
        'src/infra/',
        'src/ultravox/',
        generated,
      ],
    ),
    ...featureRules,
    {
      name: 'rules-import-no-graphql',
      comment: 'Services, jobs and rules know nothing of the graph above them.',
      severity: 'error',
      from: { path: `^src/(${ANY_FEATURE}|live|sync)/`, pathNot: '^src/[^/]+/graph/' },
      to: { path: '^src/(graphql/|server/|[^/]+/graph/)' },
    },
    {
      name: 'graphql-packages-stay-in-the-graph',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(graphql/|server/|[^/]+/graph/|generated/)' },
      to: { path: '^node_modules/(graphql|graphql-yoga|graphql-ws|@pothos)/' },
    },
    {
      name: 'nothing-imports-the-server',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(server/|demo/|(start|routes|worker|main)\\.ts$)' },
      to: { path: '^src/server/' },
    },
    {
      name: 'server-imports-no-feature-but-organizations',
      severity: 'error',
      from: { path: '^src/server/', pathNot: '^src/server/schema\\.ts$' },
      to: { path: `^src/(${ANY_FEATURE.replace('|organizations', '')})/` },
    },
    {
      name: 'nothing-imports-the-entry-points',
      severity: 'error',
      from: { path: '^src/[^/]+/', pathNot: '^src/(demo|commands|deployment)/' },
      to: { path: '^src/(demo/|commands/|deployment/|(main|start|routes|worker)\\.ts$)' },
    },
  ],
  options: {
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['node', 'import', 'types', 'default'],
      extensions: ['.ts', '.js', '.mjs', '.json'],
    },
  },
};
