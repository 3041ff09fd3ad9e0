/** Options for transactions that change up to a million rows and take longer than the default timeout. */
export const LONG_TRANSACTION = { maxWait: 10_000, timeout: 300_000 } as const;
