/** Writes CSV rows that no spreadsheet executes as formulas. Pure. */

/**
 * Cells that a spreadsheet interprets as a formula (https://owasp.org/www-community/attacks/CSV_Injection).
 * Some treat full-width characters like the ASCII ones.
 */
const FORMULA = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;
const PHONE_NUMBER = /^\+\d{2,15}$/;

/** Formats a row so that spreadsheets interpret no cell as a formula. */
export function csvLine(cells: readonly (string | number | null)[]): string {
  return `${cells.map(csvCell).join(',')}\r\n`;
}

function csvCell(cell: string | number | null): string {
  if (cell === null) return '';
  if (typeof cell === 'number') return String(cell);
  const text = FORMULA.test(cell) && !PHONE_NUMBER.test(cell) ? `'${cell}` : cell;
  return /[",\r\n']/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Removes the apostrophe that keeps a cell from being interpreted as a formula. */
export function withoutFormulaGuard(cell: string): string {
  return cell.charCodeAt(0) === 0x27 && FORMULA.test(cell.slice(1)) ? cell.slice(1) : cell;
}
