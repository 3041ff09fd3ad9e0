/**
 * The pause that Ultravox requests with `Retry-After` when the account has sent too many requests. It applies to
 * all users of the account: until it is over, requests fail without being sent, just as Ultravox would refuse them.
 */

/** Maximum pause. A longer one is not trusted; the next refusal would request the rest. */
const MAX_SECONDS = 60;

export interface AccountPause {
  /** Seconds until requests may be sent again; 0 if they may be. */
  remainingSeconds(): number;
  /** Starts a pause for all processes that share it. */
  start(seconds: number): void;
}

/** @param share sends the seconds to the other processes, which pass them to `extend` */
export function createAccountPause(share: (seconds: number) => void): AccountPause & {
  extend(seconds: number): void;
} {
  let until = 0;
  const extend = (seconds: number): void => {
    const bounded = Math.min(Math.max(0, seconds), MAX_SECONDS);
    until = Math.max(until, performance.now() + bounded * 1000);
  };
  return {
    remainingSeconds: () => Math.max(0, (until - performance.now()) / 1000),
    extend,
    start(seconds) {
      extend(seconds);
      share(seconds);
    },
  };
}
