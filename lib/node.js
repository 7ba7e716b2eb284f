// What every runtime but Bun gets for `import "copse"` (package.json, exports).
throw new Error(
  "copse runs on Bun (https://bun.sh), version 1.4 or newer: it uses bun:ffi, which this runtime lacks. Start the program with `bun`.",
);
