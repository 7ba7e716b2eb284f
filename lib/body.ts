// What can be written as the content of a file, as chunks of bytes.

import { argumentError, showValue } from "./errors.ts";

/** What can be written as a file's content. */
export type Body =
  | string
  | Blob
  | Response
  | ReadableStream<Uint8Array>
  | ArrayBufferView
  | ArrayBuffer;

/** Bytes that are there at once, or come. */
export type Chunks = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** `ARGUMENT` for what is no content, naming the argument. */
export function chunksOf(name: string, body: Body): Chunks {
  if (typeof body === "string") return [new TextEncoder().encode(body)];
  if (body instanceof ArrayBuffer) return [new Uint8Array(body)];
  if (ArrayBuffer.isView(body))
    return [new Uint8Array(body.buffer, body.byteOffset, body.byteLength)];
  if (body instanceof ReadableStream) return bytesOf(name, body);
  if (body instanceof Response) return body.body ? bytesOf(name, body.body) : [];
  if (body instanceof Blob) return bytesOf(name, body.stream());
  throw argumentError(
    name,
    `must be a string, bytes, a Blob, a Response or a ReadableStream, not ${showValue(body)}`,
  );
}

async function* bytesOf(
  name: string,
  stream: ReadableStream<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of stream) {
    // Whoever made the stream may know no types.
    if (!(chunk instanceof Uint8Array))
      throw argumentError(name, `must be a stream of bytes, not of ${showValue(chunk)}`);
    yield chunk;
  }
}
