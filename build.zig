// Builds the core.
//
//   zig build                     zig-out/lib/libcopse.so, optimised (-Doptimize=Debug for the other)
//   zig build test                every test/native/<name>_test.c with the whole core, run
//   zig build test-programs       the same programs, installed to zig-out/test/ and not run
//   zig build compile-commands    compile_commands.json for editors
//
// A new file under native/ is built because it is there. The self-contained release library will be
// another body of `linkSystem` (an archive built from pinned sources instead of pkg-config's answer)
// and the same everything else; -Dstatic holds its place.

const std = @import("std");
const builtin = @import("builtin");

const language = [_][]const u8{
    "-std=c23",             "-D_GNU_SOURCE", "-fvisibility=hidden",
    // Rows and records are read and written through byte buffers.
    "-fno-strict-aliasing",
};
const warnings = [_][]const u8{
    "-Wall",               "-Wextra",              "-Wpedantic",      "-Wconversion",           "-Wshadow",
    "-Wvla",               "-Wundef",              "-Wcast-qual",     "-Wimplicit-fallthrough", "-Wformat=2",
    "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wwrite-strings", "-Werror",
};

/// System libraries, each linked once a source that needs it exists.
const system = [_]struct { library: []const u8, needed_by: []const u8 }{
    .{ .library = "libcurl", .needed_by = "wire/http" },
    .{ .library = "libssh2", .needed_by = "wire/ssh" },
    .{ .library = "libarchive", .needed_by = "store/archive" },
    .{ .library = "libisal", .needed_by = "store/archive" },
    .{ .library = "libdeflate", .needed_by = "store/archive" },
    .{ .library = "liblzma", .needed_by = "store/archive" },
    .{ .library = "libzstd", .needed_by = "store/pack" },
    .{ .library = "libxxhash", .needed_by = "store/pack" },
    .{ .library = "libcrypto", .needed_by = "base/hash" },
};

/// Where the set-up step puts BLAKE3's C source; only it and this file know.
const blake3_folder = "native/third_party/blake3";

const Wake = enum { eventfd, pipe };
const Sanitize = enum { none, undefined, thread };

pub fn build(b: *std.Build) !void {
    // A fixed CPU level, so that a figure measured here holds for the library we ship, and so that
    // valgrind knows every instruction. BLAKE3 picks its own code at run time.
    const target = b.standardTargetOptions(.{ .default_target = .{
        .cpu_model = if (builtin.cpu.arch == .x86_64) .{ .explicit = &std.Target.x86.cpu.x86_64_v2 } else .baseline,
    } });
    const optimize = b.option(std.builtin.OptimizeMode, "optimize", "default ReleaseFast") orelse .ReleaseFast;
    const wake = b.option(Wake, "wake", "what stands behind engine/wake.h (default eventfd)") orelse
        if (target.result.os.tag == .linux) Wake.eventfd else Wake.pipe;
    const fault_store = b.option(bool, "fault-store", "the store that fails on cue (default true; never shipped)") orelse true;
    const strip = b.option(bool, "strip", "leave debug information out (default false)") orelse false;
    const sanitize_option = b.option(Sanitize, "sanitize", "default: undefined in Debug, none otherwise");
    if (b.option(bool, "static", "reserved") orelse false) return fail(b, "-Dstatic is not built yet: it will come with the platform packages");

    var defines: std.ArrayList([]const u8) = .empty;
    if (wake == .pipe) try defines.append(b.allocator, "-DCOPSE_WAKE_PIPE=1");
    if (fault_store) try defines.append(b.allocator, "-DCOPSE_FAULT_STORE=1");
    // An assertion that names its file does not name the machine it was built on.
    try defines.append(b.allocator, b.fmt("-fmacro-prefix-map={s}/=", .{b.pathFromRoot(".")}));
    const flags = try std.mem.concat(b.allocator, []const u8, &.{ &language, &warnings, defines.items });

    // Each system has its own table of calls; the other ones' headers are not there.
    const other_tables: []const []const u8 = if (target.result.os.tag == .linux) &.{"engine/io_macos"} else &.{ "engine/io_plain", "engine/io_uring" };
    const left_out: []const []const u8 = if (fault_store) &.{"third_party"} else &.{ "third_party", "store/fault" };
    const sources = try collect(b, "native", ".c", try std.mem.concat(b.allocator, []const u8, &.{ other_tables, left_out }));
    const blake3 = blake3Library(b, target, strip) orelse
        return fail(b, "BLAKE3's C source is not there yet: `node .ci/setup.mjs` fetches it (npm start and npm test do so too)");

    const core: Core = .{ .b = b, .target = target, .strip = strip, .sources = sources, .flags = flags, .blake3 = blake3 };

    const root_module = core.module(optimize, sanitize_option orelse if (optimize == .Debug) .undefined else .none);
    linkSystem(root_module, sources);
    const library = b.addLibrary(.{ .name = "copse", .linkage = .dynamic, .root_module = root_module });
    library.setVersionScript(b.path("native/exports.map"));
    library.link_gc_sections = true;
    // Without these two a missing symbol passes the link and fails at dlopen.
    library.link_z_defs = true;
    library.linker_allow_shlib_undefined = false;
    b.installArtifact(library);

    // Tests see every symbol, so they link the objects, not the library; undefined behaviour traps.
    const test_sanitize = sanitize_option orelse .undefined;
    const objects = b.addLibrary(.{ .name = "copse-core", .linkage = .static, .root_module = core.module(.Debug, test_sanitize) });
    const run_tests = b.step("test", "Build and run the native tests");
    const install_tests = b.step("test-programs", "Install the native tests to zig-out/test");
    for (try collect(b, "test/native", "_test.c", &.{})) |file| {
        const module = b.createModule(.{
            .target = target,
            .optimize = .Debug,
            .link_libc = true,
            .sanitize_thread = test_sanitize == .thread,
            .sanitize_c = if (test_sanitize == .undefined) .full else .off,
        });
        core.includes(module);
        module.addIncludePath(b.path("test/native"));
        module.addCSourceFile(.{ .file = b.path(b.fmt("test/native/{s}", .{file})), .flags = flags, .language = .c });
        module.linkLibrary(objects);
        // Not in the archive, which would hold the shared libraries' names as members.
        linkSystem(module, sources);
        const program = b.addExecutable(.{ .name = b.dupe(file[0 .. file.len - ".c".len]), .root_module = module });
        const run = b.addRunArtifact(program);
        run.setCwd(b.path("."));
        run.expectExitCode(0);
        run_tests.dependOn(&run.step);
        const install = b.addInstallArtifact(program, .{ .dest_dir = .{ .override = .{ .custom = "test" } } });
        install_tests.dependOn(&install.step);
    }

    const commands = b.addUpdateSourceFiles();
    commands.addBytesToSource(try compileCommands(b, sources, flags), "compile_commands.json");
    b.step("compile-commands", "Write compile_commands.json").dependOn(&commands.step);
}

const Core = struct {
    b: *std.Build,
    target: std.Build.ResolvedTarget,
    strip: bool,
    sources: []const []const u8,
    flags: []const []const u8,
    blake3: *std.Build.Step.Compile,

    fn module(core: Core, optimize: std.builtin.OptimizeMode, sanitize: Sanitize) *std.Build.Module {
        const m = core.b.createModule(.{
            .target = core.target,
            .optimize = optimize,
            .link_libc = true,
            .pic = true,
            .strip = core.strip,
            .sanitize_thread = sanitize == .thread,
            .sanitize_c = if (sanitize == .undefined) .full else .off,
        });
        core.includes(m);
        m.addCSourceFiles(.{ .root = core.b.path("native"), .files = core.sources, .flags = core.flags, .language = .c });
        m.linkLibrary(core.blake3);
        return m;
    }

    fn includes(core: Core, m: *std.Build.Module) void {
        m.addIncludePath(core.b.path("native"));
        m.addIncludePath(core.b.path("native/include"));
        m.addSystemIncludePath(core.b.path(blake3_folder));
    }
};

fn linkSystem(m: *std.Build.Module, sources: []const []const u8) void {
    for (system) |row| {
        for (sources) |source| {
            if (!std.mem.startsWith(u8, source, row.needed_by)) continue;
            m.linkSystemLibrary(row.library, .{ .use_pkg_config = .force });
            break;
        }
    }
}

/// Someone else's code: their warnings are theirs, and it is optimised even where ours is not.
fn blake3Library(b: *std.Build, target: std.Build.ResolvedTarget, strip: bool) ?*std.Build.Step.Compile {
    b.build_root.handle.access(b.graph.io, blake3_folder ++ "/blake3.c", .{}) catch return null;
    const m = b.createModule(.{
        .target = target,
        .optimize = .ReleaseFast,
        .link_libc = true,
        .pic = true,
        .strip = strip,
        .sanitize_c = .off,
    });
    const flags = [_][]const u8{ "-std=c11", "-fvisibility=hidden", "-w" };
    m.addCSourceFiles(.{
        .root = b.path(blake3_folder),
        .files = &.{ "blake3.c", "blake3_dispatch.c", "blake3_portable.c" },
        .flags = &flags,
    });
    switch (target.result.cpu.arch) {
        .x86_64 => for ([_][]const u8{ "sse2", "sse41", "avx2", "avx512" }) |level| {
            m.addAssemblyFile(b.path(b.fmt(blake3_folder ++ "/blake3_{s}_x86-64_unix.S", .{level})));
        },
        .aarch64 => m.addCSourceFile(.{ .file = b.path(blake3_folder ++ "/blake3_neon.c"), .flags = &flags }),
        else => {},
    }
    return b.addLibrary(.{ .name = "blake3", .linkage = .static, .root_module = m });
}

/// Paths below `folder` that end in `ending`, sorted so that two builds give the same bytes.
/// `skip` holds the beginnings that are left out.
fn collect(b: *std.Build, folder: []const u8, ending: []const u8, skip: []const []const u8) ![]const []const u8 {
    var found: std.ArrayList([]const u8) = .empty;
    const io = b.graph.io;
    var directory = b.build_root.handle.openDir(io, folder, .{ .iterate = true }) catch |err| switch (err) {
        error.FileNotFound => return &.{},
        else => return err,
    };
    defer directory.close(io);
    var walker = try directory.walk(b.allocator);
    next: while (try walker.next(io)) |entry| {
        if (entry.kind != .file or !std.mem.endsWith(u8, entry.path, ending)) continue;
        for (skip) |beginning| if (std.mem.startsWith(u8, entry.path, beginning)) continue :next;
        try found.append(b.allocator, b.dupe(entry.path));
    }
    std.mem.sort([]const u8, found.items, {}, before);
    return found.items;
}

fn before(_: void, left: []const u8, right: []const u8) bool {
    return std.mem.lessThan(u8, left, right);
}

fn compileCommands(b: *std.Build, sources: []const []const u8, flags: []const []const u8) ![]const u8 {
    var text: std.Io.Writer.Allocating = .init(b.allocator);
    const root = b.pathFromRoot(".");
    try text.writer.writeAll("[");
    for (sources, 0..) |source, i| {
        if (i > 0) try text.writer.writeAll(",");
        try text.writer.print("\n{{\"directory\":{f},\"file\":\"native/{s}\",\"arguments\":[\"clang\"", .{ std.json.fmt(root, .{}), source });
        for (flags) |flag| try text.writer.print(",{f}", .{std.json.fmt(flag, .{})});
        try text.writer.print(",\"-Inative\",\"-Inative/include\",\"-isystem\",\"{s}\",\"-c\",\"native/{s}\"]}}", .{ blake3_folder, source });
    }
    try text.writer.writeAll("\n]\n");
    return text.written();
}

fn fail(b: *std.Build, sentence: []const u8) void {
    const step = &b.addFail(sentence).step;
    b.getInstallStep().dependOn(step);
    b.step("test", "Build and run the native tests").dependOn(step);
    b.step("test-programs", "Install the native tests to zig-out/test").dependOn(step);
}
