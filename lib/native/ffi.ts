// Opens the library once per JavaScript thread and checks that it and these bindings belong
// together.
//
// Typed arrays are passed as they are and never as stored addresses: `ptr()` does not keep its
// buffer alive. Native code copies what it is given before it returns.

import { dlopen, toArrayBuffer, type Pointer } from "bun:ffi";
import { ABI, layout } from "./abi.ts";
import { findLibrary } from "./load.ts";
import { symbols } from "./symbols.ts";

export type Native = ReturnType<typeof dlopen<typeof symbols>>["symbols"];

let opened: { native: Native; path: string } | undefined;

/** The functions of copse.h. Throws an Error whose message says what was tried and what to do. */
export function native(): Native {
  return (opened ??= open()).native;
}

/** The file the functions come from. */
export function libraryPath(): string {
  return (opened ??= open()).path;
}

function open(): { native: Native; path: string } {
  const { path, tried } = findLibrary();
  const here = `${process.platform}-${process.arch}`;
  if (!path)
    throw new Error(
      `the copse library for ${here} was not found (tried ${tried.join(", ")}); reinstall the package copse, run npm start in a checkout, or set COPSE_LIB to the library's path`,
    );
  let library: ReturnType<typeof dlopen<typeof symbols>>;
  try {
    library = dlopen(path, symbols);
  } catch (cause) {
    throw new Error(
      `the copse library for ${here} could not be loaded from ${path}: ${cause instanceof Error ? cause.message : String(cause)}; reinstall the package copse, or set COPSE_LIB to a library built for this system`,
      { cause },
    );
  }
  const found = new Uint32Array(layout.length);
  const version = library.symbols.copse_abi(found, found.length);
  if (version !== ABI || layout.some((number, i) => found[i] !== number)) {
    library.close();
    throw new Error(
      `the copse library ${path} has ABI ${version}, these bindings have ABI ${ABI}, or their structs differ; install matching versions or rebuild`,
    );
  }
  return { native: library.symbols, path };
}

/** The bytes of a page that was kept: freed when nobody holds them any more. */
export function keptBytes(address: number, size: number): ArrayBuffer {
  const { copse_page_free } = native();
  // Bun's types know neither that a function has its address nor that buffers can be freed by one.
  const { ptr } = copse_page_free as unknown as { readonly ptr: Pointer };
  const toKeptBuffer = toArrayBuffer as (
    at: Pointer,
    from: number,
    size: number,
    context: Pointer,
    free: Pointer,
  ) => ArrayBuffer;
  return toKeptBuffer(address as Pointer, 0, size, address as Pointer, ptr);
}

/** The bytes of a lent page. Valid until the page is released: nobody above rows.ts may keep it. */
export function pageBytes(address: number, size: number): ArrayBuffer {
  return toArrayBuffer(address as Pointer, 0, size);
}
