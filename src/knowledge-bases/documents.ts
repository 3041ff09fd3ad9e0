/** Types of documents that can be uploaded, and checks that a file is of its type. */
import type { ProblemPath } from '../errors.ts';
import type { Checks } from '../infra/checks.ts';
import { formatNumber } from '../infra/format-number.ts';

/** Ultravox's limit. */
export const MAX_DOCUMENT_BYTES = 10 * 1024 * 1024;

const ZIP = [0x50, 0x4b, 0x03, 0x04];
const OLE = [0xd0, 0xcf, 0x11, 0xe0];
const PDF = [...Buffer.from('%PDF-')];

interface DocumentType {
  contentType: string;
  /** Other MIME types that browsers and tools send for this type. */
  aliases?: readonly string[];
  /** First bytes of such a file; null for text. */
  signature: readonly number[] | null;
}

const MARKDOWN: DocumentType = {
  contentType: 'text/markdown',
  aliases: ['text/x-markdown', 'text/plain'],
  signature: null,
};

/** By file name extension. */
const TYPES: Readonly<Record<string, DocumentType>> = {
  pdf: { contentType: 'application/pdf', signature: PDF },
  docx: {
    contentType: 'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
    signature: ZIP,
  },
  doc: { contentType: 'application/msword', signature: OLE },
  txt: { contentType: 'text/plain', signature: null },
  md: MARKDOWN,
  markdown: MARKDOWN,
  pptx: {
    contentType: 'application/vnd.openxmlformats-officedocument.presentationml.presentation',
    signature: ZIP,
  },
  ppt: { contentType: 'application/vnd.ms-powerpoint', signature: OLE },
  epub: { contentType: 'application/epub+zip', signature: ZIP },
};

export interface DocumentInput {
  filename: string;
  contentType?: string | null | undefined;
  /** Base64. */
  content: string;
}

/** Returns the content and the MIME type to upload it with. Undefined if there are problems. */
export function checkDocument(
  checks: Checks,
  input: DocumentInput,
): { bytes: Uint8Array<ArrayBuffer>; contentType: string } | undefined {
  const filename = checks.text(input.filename, ['filename'], { min: 1, max: 255 });
  const bytes = decode(checks, input.content, ['content']);
  if (filename === undefined) return undefined;
  const extension = /\.([a-z0-9]+)$/i.exec(filename)?.[1]?.toLowerCase() ?? '';
  const type = Object.hasOwn(TYPES, extension) ? TYPES[extension] : undefined;
  if (!type) {
    return checks.add(
      'INVALID_INPUT',
      `\`filename\` must end with one of ${Object.keys(TYPES)
        .map((known) => `.${known}`)
        .join(', ')}.`,
      ['filename'],
    );
  }
  const given = input.contentType?.split(';')[0]?.trim().toLowerCase();
  if (given !== undefined && given !== type.contentType && !type.aliases?.includes(given)) {
    checks.add(
      'INVALID_INPUT',
      `\`contentType\` does not match \`filename\`: a .${extension} file is ${type.contentType}. Omit it, or rename the file.`,
      ['contentType'],
    );
  }
  if (!bytes) return undefined;
  if (!hasContentOf(type, bytes)) {
    return checks.add(
      'INVALID_INPUT',
      type.signature
        ? `\`content\` is not a .${extension} file.`
        : '`content` must be text in UTF-8.',
      ['content'],
    );
  }
  return { bytes, contentType: type.contentType };
}

function decode(
  checks: Checks,
  content: string,
  path: ProblemPath,
): Uint8Array<ArrayBuffer> | undefined {
  const text = content.replace(/\s+/g, '');
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) {
    return checks.add('INVALID_INPUT', '`content` must be base64.', path);
  }
  if (text === '') return checks.add('REQUIRED', '`content` must not be empty.', path);
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length > MAX_DOCUMENT_BYTES) {
    return checks.add(
      'INVALID_INPUT',
      `\`content\` may have at most 10 MB (${formatNumber(MAX_DOCUMENT_BYTES)} bytes); it has ${formatNumber(bytes.length)} bytes. Split the document.`,
      path,
    );
  }
  return bytes;
}

function hasContentOf(type: DocumentType, bytes: Uint8Array): boolean {
  if (type.signature) return type.signature.every((byte, index) => bytes[index] === byte);
  try {
    return !new TextDecoder('utf-8', { fatal: true }).decode(bytes).includes('\u0000');
  } catch {
    return false;
  }
}
