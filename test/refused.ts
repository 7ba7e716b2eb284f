// A program for which the kernel refuses one system call: a seccomp filter, then the program.

const filter = `
import ctypes, errno, os, struct, sys
def line(code, jt, jf, k): return struct.pack("HBBI", code, jt, jf, k)
program = (line(0x20, 0, 0, 0) + line(0x15, 0, 1, int(sys.argv[1]))
           + line(0x06, 0, 0, 0x00050000 | getattr(errno, sys.argv[2])) + line(0x06, 0, 0, 0x7fff0000))
memory = ctypes.create_string_buffer(program)
header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(memory)))
libc = ctypes.CDLL(None, use_errno=True)
word = ctypes.c_ulong
if libc.prctl(38, word(1), word(0), word(0), word(0)): raise OSError(ctypes.get_errno(), "no_new_privs")
if libc.prctl(22, word(2), ctypes.byref(header), word(0), word(0)): raise OSError(ctypes.get_errno(), "seccomp")
os.execvp(sys.argv[3], sys.argv[3:])
`;

/** It takes Linux and python3, because it must happen around the process. */
export const canRefuse = process.platform === "linux" && Bun.which("python3") !== null;

/** What stands before the command: that call fails with that error. */
export const refused = (call: number, error: string): readonly string[] => [
  "python3",
  "-c",
  filter,
  String(call),
  error,
];
