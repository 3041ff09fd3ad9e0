/** `npm start`: reads the settings, starts the parts for ROLE, and prints what it runs on. */
import { readConfig } from './config.ts';
import { ConfigError } from './errors.ts';
import { createLogger, type Logger } from './infra/logger.ts';
import { type Running, start } from './start.ts';

function banner({ parts, server, demoKey, firstKey }: Running): string {
  const lines = [
    '',
    `  database   ${parts.database}`,
    `  live bus   ${parts.bus}`,
    `  Ultravox   ${parts.ultravox}`,
    ...(server ? ['', `  GraphiQL   ${server.url}/graphql`] : []),
    ...(demoKey ? [`  API key    ${demoKey}`] : []),
    ...(firstKey ? [`  API key    ${firstKey}   (shown once: keep it now)`] : []),
    '',
  ];
  return `${lines.join('\n')}\n`;
}

/** Logs warnings and uncaught errors, which Node.js would print unredacted. */
function logNodeWarnings(log: Logger): void {
  process.removeAllListeners('warning');
  process.on('warning', (warning) => log.warn({ err: warning }, 'Warning of Node.js'));
  process.on('uncaughtException', (error) => {
    log.error({ err: error }, 'Uncaught error; the process ends');
    process.exit(1);
  });
}

async function main(): Promise<void> {
  const config = readConfig(process.env);
  const log = createLogger({ level: config.LOG_LEVEL, pretty: config.LOG_FORMAT === 'pretty' });
  logNodeWarnings(log);
  // Several demos may run side by side, but a server behind a proxy must use the port that the proxy expects.
  const otherPort = !process.env.PORT && !config.DATABASE_URL;
  const running = await start(config, log, { otherPort });
  process.stdout.write(banner(running));

  let stopping = false;
  const stop = (signal: string): void => {
    if (stopping) process.exit(1);
    stopping = true;
    log.info(`${signal}: stopping after running work has finished; repeat to stop immediately`);
    void running.close().then(() => process.exit(0));
  };
  process.on('SIGINT', () => stop('SIGINT'));
  process.on('SIGTERM', () => stop('SIGTERM'));
}

main().catch((error: unknown) => {
  const code = (error as NodeJS.ErrnoException)?.code;
  const message =
    error instanceof ConfigError
      ? error.message
      : code === 'EADDRINUSE'
        ? `The port is in use: ${(error as Error).message}. Set PORT to another one.`
        : error instanceof Error
          ? (error.stack ?? error.message)
          : String(error);
  process.stderr.write(`${message}\n`);
  process.exit(1);
});
