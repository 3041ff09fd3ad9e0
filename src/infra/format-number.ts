/** Formats a number for descriptions and messages: 10,000. */
export function formatNumber(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 100 });
}
