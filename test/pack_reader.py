"""Reads packs by docs/formats.md, with nobody's code but pyarrow's, zstandard's, xxhash's and blake3's.

`python pack_reader.py FILE...` prints one JSON line for each: what is in it, or {"error": why}. Every byte
of the file has to belong to something that was checked.
"""

import hashlib
import json
import struct
import sys

import blake3
import pyarrow
import pyarrow.ipc
import xxhash
import zstandard

MAGIC = struct.pack("<I", 0xD7B1A5C0 + 25)
ZSTD_MAGIC = struct.pack("<I", 0xFD2FB528)


def hashed(data):
    return blake3.blake3(data).digest()


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def low32(data):
    return struct.pack("<I", xxhash.xxh3_64_intdigest(data) & 0xFFFFFFFF)


def unframe(frame, dictionary=None):
    """The content of a compressed blob."""
    unpacker = zstandard.ZstdDecompressor(dict_data=zstandard.ZstdCompressionDict(dictionary)) if dictionary else zstandard.ZstdDecompressor()
    assert frame[:4] == MAGIC and frame[4:6] == b"\3\1", "a frame's head"
    said, at = varint(frame, 6)
    assert frame[at] == xxhash.xxh3_64_intdigest(frame[:at]) & 255, "a frame's head check"
    at += 1
    content = b""
    while frame[at]:
        begin = at
        if frame[at : at + 2] == b"\1\1":
            size, at = varint(frame, at + 2)
            part = frame[at : at + size]
        else:
            assert frame[at : at + 8] == bytes([2, 1, 0, 0x16, 0, 0, 0, 0]), "a chunk's head"
            size, at = varint(frame, at + 8)
            assert frame[at] == 1
            part = unpacker.decompress(ZSTD_MAGIC + frame[at + 1 : at + size])
        at += size
        assert frame[at : at + 4] == low32(part), "a content check"
        assert frame[at + 4 : at + 8] == low32(frame[begin : at + 4]), "a compressed check"
        at += 8
        content += part
    assert at + 1 == len(frame) and len(content) + 1 == said, "a frame's size"
    return content


def stream(data):
    with pyarrow.ipc.open_stream(data) as reader:
        return reader.schema, reader.read_all().to_pylist()


def records(data):
    """What the extension says, after its hashes."""
    count, reserved, length = struct.unpack_from("<IIQ", data, 8)
    assert reserved == 0 and length == len(data) and hashed(data[:-32]) == data[-32:], "the extension"
    yield from some(data[96:-32], count)


def some(data, count):
    at = 0
    for _ in range(count):
        kind, mode, mtime, path_size, target_size = struct.unpack_from("<B3xIqII", data, at)
        at += 24
        yield kind, mode, mtime, data[at : at + path_size], data[at + path_size : at + path_size + target_size]
        at += path_size + target_size
    assert at == len(data), "the extension's records"


def check_copy(data, place):
    """A copy of a part of the index, for repair: it has to be whole."""
    at, size = struct.unpack("<QQ", place)
    copy = data[at : at + size]
    assert copy[:16] == b"COPSE-INDEX-COPY" and struct.unpack_from("<QQ", copy, 16) == (at, size), "a copy's head"
    assert hashed(copy[:-32]) == copy[-32:], "a copy's hash"
    count = struct.unpack_from("<I", copy, 40)[0]
    content = unframe(copy[48:-32])
    source = pyarrow.BufferReader(content)
    with pyarrow.ipc.open_stream(source) as reader:
        rows = reader.read_all().to_pylist()
    told = sum(1 for _ in some(content[source.tell() :], count))
    assert told == count, "a copy's records"
    return at, at + size, rows


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    assert data[-16:-8] in (b"ZNPYMIDX", b"COPSEIDX"), "the trailer"
    is_native = data[-16:-8] == b"COPSEIDX"
    dictionary, groups_read = None, {}
    (manifest_at,) = struct.unpack("<Q", data[-8:])
    _, groups = stream(data[manifest_at:-16])
    prefixes = {}
    files, covered, index_at, index_end, place = {}, [], len(data), 0, None
    for group in groups:
        begin, end = group["index_offset"], group["index_offset"] + group["index_len"]
        index_at, index_end = min(index_at, begin), max(index_end, end)
        schema, rows = stream(unframe(data[begin:end]) if is_native else data[begin:end])
        for said in filter(None, schema.metadata.get(b"copse_dictionary", b"").split(b",")):
            at, size = (int(number) for number in said.split(b":"))
            again = unframe(data[at : at + size])
            assert dictionary in (None, again), "two dictionaries"
            dictionary = again
            covered.append((at, at + size))
        assert len(rows) == group["row_count"], "the number of rows"
        place = schema.metadata.get(b"copse_ext", place)
        for row in rows:
            blob = data[row["blob_offset"] : row["blob_offset"] + row["blob_size"]]
            spot = row["blob_offset"], row["blob_size"], row["compressed"]
            if spot not in groups_read:
                groups_read[spot] = unframe(blob, dictionary) if row["compressed"] else blob
            group = groups_read[spot]
            assert len(group) == row.get("copse_group_size", len(group)) and hashed(group) == row["checksum"], "a group"
            from_ = row.get("copse_group_at", 0)
            chunk = group[from_ : from_ + row["uncompressed_size"]]
            assert len(chunk) == row["uncompressed_size"] and (is_native or chunk == group), "a chunk"
            entry = files.setdefault(
                row["relative_path"].encode(),
                {"type": "file", "content": b"", "mode": row.get("copse_mode"), "mtime": row.get("copse_mtime_ns"), "chunks": 0},
            )
            prefixes.setdefault(row["relative_path"], set()).add(row["checksum"][:8])
            assert row["chunk_seq"] == entry["chunks"] and row["fdata_offset"] == len(entry["content"]), "the order of chunks"
            entry["chunks"] += 1
            entry["content"] += chunk
            covered.append((row["blob_offset"], row["blob_offset"] + row["blob_size"]))
    entries = dict(files)
    if is_native:
        place = b"%d:%d" % (index_end, manifest_at - index_end)
    if place:
        at, size = (int(number) for number in place.split(b":"))
        extension = data[at : at + size]
        assert extension[:8] == b"COPSEXT\1" and (at, at + size) == (index_end, manifest_at), "where the extension is"
        assert extension[32:64] == hashed(data[index_at:index_end]), "the hash of the rows"
        assert extension[64:96] == hashed(data[manifest_at:-16]), "the hash of the manifest"
        for kind, mode, mtime, name, target in records(extension):
            if kind == 1:
                entries[name] = {"type": "directory", "mode": mode, "mtime": mtime}
            elif kind == 2:
                entries[name] = {"type": "link", "mode": mode, "mtime": mtime, "target": target.hex()}
            elif kind == 3:
                entries[target] = entries.pop(name)
            elif kind == 5:
                begin, after, copied = check_copy(data, target)
                covered.append((begin, after))
                for row in copied:
                    assert row["checksum"] in prefixes[row["relative_path"]], "a copy's row"
            else:
                assert kind == 4 and name in files and target in files, "a hard link"
        end = 0
        for begin, after in sorted(covered):
            assert begin <= end, "bytes that belong to nothing"
            end = max(end, after)
        assert end == index_at, "bytes that belong to nothing"
    for entry in entries.values():
        if "content" in entry:
            entry["size"] = len(entry["content"])
            entry["sha256"] = hashlib.sha256(entry.pop("content")).hexdigest()
    return {name.hex(): entry for name, entry in sorted(entries.items())}


for name in sys.argv[1:]:
    try:
        print(json.dumps(read(name)))
    except Exception as error:  # any: the question is whether it can be read
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
