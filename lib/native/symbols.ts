// The dlopen table: one line per function of native/include/copse.h. test/abi.test.ts holds it
// against the header. Ids are 52-bit numbers (u64 takes plain numbers up to 2^53); lengths are
// numbers; every pointer comes with its length.

export const symbols = {
  copse_abi: { args: ["ptr", "u32"], returns: "u32" },
  copse_error_name: { args: ["i32"], returns: "cstring" },
  copse_about: { args: ["ptr", "u64"], returns: "i32" },
  copse_runtime_open: { args: ["ptr", "u64", "ptr"], returns: "i32" },
  copse_runtime_close: { args: ["u64"], returns: "i32" },
  copse_runtime_fd: { args: ["u64"], returns: "i32" },
  copse_runtime_stats: { args: ["u64", "ptr"], returns: "i32" },
  copse_runtime_drain: { args: ["u64", "ptr", "u32"], returns: "i32" },
  copse_runtime_cancel: { args: ["u64", "u32"], returns: "i32" },
  copse_task_start: { args: ["u64", "ptr", "u64", "ptr", "u32"], returns: "i32" },
  copse_task_wait: { args: ["u64", "ptr", "u32", "u32"], returns: "i32" },
  copse_task_push: { args: ["u64", "ptr", "u64"], returns: "i32" },
  copse_task_cancel: { args: ["u64"], returns: "i32" },
  copse_task_error: { args: ["u64", "ptr", "u64"], returns: "i32" },
  copse_task_close: { args: ["u64"], returns: "i32" },
  copse_page_release: { args: ["u64", "u64"], returns: "i32" },
  copse_page_keep: { args: ["u64", "u64"], returns: "i32" },
  copse_page_free: { args: ["ptr", "ptr"], returns: "void" },
  copse_globs_open: { args: ["ptr", "u64", "ptr", "ptr", "u64"], returns: "i32" },
  copse_globs_match: { args: ["u64", "ptr", "u64", "u32", "u32", "ptr", "u64"], returns: "i32" },
  copse_globs_close: { args: ["u64"], returns: "i32" },
  copse_shared_open: { args: ["ptr", "u64", "ptr", "ptr", "u64"], returns: "i32" },
  copse_shared_call: { args: ["u64", "u32", "ptr", "u64"], returns: "i32" },
  copse_shared_close: { args: ["u64"], returns: "i32" },
} as const;
