/** Answers to requests that Node.js cannot parse. They replace its own answers, which have no body. */
import { maxHeaderSize, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

interface ErrorResponse {
  status: string;
  code: string;
  message: string;
}

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
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: '408 Request Timeout',
    code: 'BAD_REQUEST',
    message: 'The request took too long to arrive.',
  },
};

export function handleMalformedRequests(server: Server): void {
  server.on('clientError', ({ code = '' }: NodeJS.ErrnoException, socket) => {
    const { _httpMessage: response } = socket as Socket & { _httpMessage?: ServerResponse };
    // A response that has started cannot be followed by another one.
    if (!socket.writable || response?.headersSent) socket.destroy();
    else socket.end(textOf(RESPONSES[code] ?? MALFORMED));
  });
}

function textOf({ status, code, message }: ErrorResponse): string {
  const body = JSON.stringify({ errors: [{ message, extensions: { code } }] });
  const headers = ['Connection: close', 'Content-Type: application/json; charset=utf-8'];
  return [`HTTP/1.1 ${status}`, ...headers, `Content-Length: ${body.length}`, '', body].join(
    '\r\n',
  );
}
