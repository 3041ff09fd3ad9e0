/** Answers to requests that Node.js cannot parse or that arrive too slowly. They replace its own, which have no body. */
import { maxHeaderSize, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

interface ErrorResponse {
  status: string;
  code: string;
  message: string;
}

const TIMEOUT = 'ERR_HTTP_REQUEST_TIMEOUT';
const MALFORMED: ErrorResponse = {
  status: '400 Bad Request',
  code: 'BAD_REQUEST',
  message: 'The request is not valid HTTP/1.1.',
};
const RESPONSES: Record<string, ErrorResponse> = {
  HPE_HEADER_OVERFLOW: {
    status: '431 Request Header Fields Too Large',
    code: 'REQUEST_ENTITY_TOO_LARGE',
    message: `The address and the headers may have ${maxHeaderSize} bytes together. Send the operation with POST, as JSON in the body.`,
  },
  [TIMEOUT]: {
    status: '408 Request Timeout',
    code: 'BAD_REQUEST',
    message:
      'The request arrived too slowly. Send at least 64 KiB per second, and all of it within 30 minutes.',
  },
};
/** Time during which the rest of such a request is discarded. If the connection were closed at once, the answer could be lost. */
const LINGER_MS = 2_000;

export function handleMalformedRequests(server: Server): void {
  server.on('clientError', ({ code = '' }: NodeJS.ErrnoException, socket) => {
    const { _httpMessage: response } = socket as Socket & { _httpMessage?: ServerResponse };
    // A response that has started cannot be followed by another one.
    if (!socket.writable || response?.headersSent) socket.destroy();
    else {
      socket.end(textOf(RESPONSES[code] ?? MALFORMED));
      // The client may leave its side open.
      setTimeout(() => socket.destroy(), LINGER_MS).unref();
    }
  });
}

/** Ends a request as Node.js does after `requestTimeout`. */
export function endSlowRequest(server: Server, socket: Socket): void {
  server.emit('clientError', Object.assign(new Error('Slow request'), { code: TIMEOUT }), socket);
}

function textOf({ status, code, message }: ErrorResponse): string {
  const body = JSON.stringify({ errors: [{ message, extensions: { code } }] });
  const headers = ['Connection: close', 'Content-Type: application/json; charset=utf-8'];
  return [`HTTP/1.1 ${status}`, ...headers, `Content-Length: ${body.length}`, '', body].join(
    '\r\n',
  );
}
