/** Parses CSV according to RFC 4180, independently of the parser of imports. */
export function parseCsv(text: string): string[][] {
  const rows: string[][] = [];
  let cells: string[] = [];
  for (let index = 0; index < text.length; ) {
    let cell = '';
    if (text[index] === '"') {
      for (index += 1; ; index += 1) {
        if (index >= text.length) throw new Error('A quoted cell does not end');
        if (text[index] !== '"') cell += text[index];
        else if (text[index + 1] === '"') {
          cell += '"';
          index += 1;
        } else break;
      }
      index += 1;
    } else {
      while (index < text.length && !/[,\r\n]/.test(text[index]!)) {
        cell += text[index];
        index += 1;
      }
    }
    cells.push(cell);
    if (text[index] === ',') {
      index += 1;
      continue;
    }
    if (text.slice(index, index + 2) !== '\r\n') throw new Error(`Garbage at ${index}`);
    index += 2;
    rows.push(cells);
    cells = [];
  }
  return rows;
}
