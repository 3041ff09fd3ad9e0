/**
 * The pause that Ultravox asks for with `Retry-After` when the account has sent too many requests. It concerns
 * everybody who uses the account: until it is over, requests fail as they would at Ultravox, without being sent.
 */

/** A longer pause is not trusted; the next refusal asks for the rest of it. */
const LONGEST_SECONDS = 60;

export interface AccountPause {
  /** Seconds until requests may be sent again; 0 if they may be. */
  remainingSeconds(): number;
  /** Makes all who share the pause wait. */
  ask(seconds: number): void;
}

/** @param share tells the other processes, which call `extend` with these seconds */
export function createAccountPause(share: (seconds: number) => void): AccountPause & {
  extend(seconds: number): void;
} {
  let until = 0;
  const extend = (seconds: number): void => {
    const bounded = Math.min(Math.max(0, seconds), LONGEST_SECONDS);
    until = Math.max(until, performance.now() + bounded * 1000);
  };
  return {
    remainingSeconds: () => Math.max(0, (until - performance.now()) / 1000),
    extend,
    ask(seconds) {
      extend(seconds);
      share(seconds);
    },
  };
}
