#!/usr/bin/python3
"""A second reader of repositories, written from src/core/repository/FORMAT.md alone.

It shares no code with veza_backup. When both read the same content, FORMAT.md describes the format
correctly. It reads repositories in directories, and verifies everything that FORMAT.md demands of a
reader. It is simple rather than fast: it holds the manifest and one pack in memory.

    veza_reader.py --root DIR/CLUSTER [--passphrase-file FILE] ls
    veza_reader.py ... cat OBJECT                  content of a stream, a pack, a document or a wrap;
                                                   of an index of WAL what it says, line by line
    veza_reader.py ... wal NAME OUT                a WAL file by the name PostgreSQL gave it
    veza_reader.py ... restore LABEL TARGET        [--tablespace OID=DIRECTORY]...
    veza_reader.py ... verify                      everything in the repository

Without --passphrase-file it reads only repositories with cipher none; with it, only the others.
Exit status: 0 success, 1 the repository is damaged, 2 wrong arguments or environment.
"""

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import struct
import sys

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

HEADER_SIZE = 64
KIND_STREAM, KIND_PACK = 1, 2
CIPHER_NONE, CIPHER_GCM, CIPHER_CBC = 0, 1, 2
CIPHER_NAMES = {"none": CIPHER_NONE, "aes-256-gcm": CIPHER_GCM, "aes-256-cbc": CIPHER_CBC}
LAST, STORED = 1 << 31, 1 << 30
LENGTH_MASK = (1 << 28) - 1
ATTRIBUTES_FRAME = 2**64 - 1
STREAM_PIECE = 262144
LONGEST_PLAIN = {KIND_STREAM: STREAM_PIECE, KIND_PACK: 1048576}
LONGEST_ATTRIBUTES = 65536
LARGEST_PACK = 32 << 20
LARGEST_INDEX = 64 << 20
LARGEST_PART = 16 << 20
LARGEST_WINDOW = 8 << 20
DEEPEST_JSON = 16


class Damaged(Exception):
    """The repository does not follow FORMAT.md."""


def require(condition, message):
    if not condition:
        raise Damaged(message)


# --- JSON ----------------------------------------------------------------------------------------


def depth_of(value):
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


def only_integers(text):
    raise ValueError(f"{text} is not an integer")


def parse_object(raw, what):
    try:
        value = json.loads(
            bytes(raw).decode("utf-8"), parse_float=only_integers, parse_constant=only_integers
        )
        require(isinstance(value, dict), f"{what}: not a JSON object")
        require(depth_of(value) <= DEEPEST_JSON, f"{what}: nested too deep")
        return value
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{what}: {error}") from error


def member(document, name, kind, what):
    value = document.get(name)
    # In Python, True is an int.
    right = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    require(right, f'{what}: "{name}" is missing or no {kind.__name__}')
    return value


def count_member(document, name, what):
    value = member(document, name, int, what)
    require(0 <= value < 2**64, f'{what}: "{name}" is out of range')
    return value


def from_base64(text, size, what):
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Damaged(f"{what}: {error}") from error
    require(len(raw) == size, f"{what}: {len(raw)} bytes instead of {size}")
    return raw


def check_format(document, what):
    version = count_member(document, "format", what)
    require(version == 1, f"{what}: unknown format {version}")


# --- keys ----------------------------------------------------------------------------------------


def hkdf(key, salt, info, length):
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(key)


def gmac_of(key, content):
    """GMAC of the content in hex: the tag of AES-GCM over nothing, with the content beside it."""
    gmac_key = hkdf(key[1], None, b"veza_backup 2 content digest", 32)
    return AESGCM(gmac_key).encrypt(b"\0" * 12, b"", content).hex()


def unwrap_key(raw, passphrase, name):
    """Returns (key id, data key), or None when the passphrase does not open this wrap."""
    wrap = parse_object(raw, name)
    check_format(wrap, name)
    require(wrap.get("kdf") == "scrypt", f"{name}: unknown kdf")
    require(wrap.get("cipher") == "aes-256-gcm", f"{name}: unknown cipher")
    key_id = member(wrap, "key_id", str, name)
    require(re.fullmatch("[0-9a-f]{32}", key_id), f"{name}: bad key_id")
    n, r, p = (count_member(wrap, cost, name) for cost in "nrp")
    require(2 <= n <= 1048576 and n & (n - 1) == 0, f"{name}: bad n")
    require(1 <= r <= 32 and 1 <= p <= 16, f"{name}: bad r or p")
    require(128 * n * r <= 128 << 20 and n * r * p <= 1048576, f"{name}: scrypt costs too much")
    salt = from_base64(member(wrap, "salt", str, name), 16, name)
    nonce = from_base64(member(wrap, "nonce", str, name), 12, name)
    wrapped = from_base64(member(wrap, "wrapped", str, name), 48, name)
    wrapping = hashlib.scrypt(passphrase, salt=salt, n=n, r=r, p=p, maxmem=1 << 30, dklen=32)
    try:
        aad = f"veza_backup 1 key {key_id}".encode()
        return key_id, AESGCM(wrapping).decrypt(nonce, wrapped, aad)
    except InvalidTag:
        return None


def unwrap_sheet(text, passphrase):
    """Returns (key id, data key) of a key sheet (FORMAT.md section 2)."""
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    lines = {}
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        found = re.fullmatch(r"([1-8]):(.*)", line)
        require(found, f"sheet: {line}")
        typed = re.sub(r"[ \t-]", "", found[2]).upper().translate(str.maketrans("ILO", "110"))
        require(len(typed) == 24 and set(typed) <= set(alphabet), f"sheet: line {found[1]}")
        bits = "".join(f"{alphabet.index(digit):05b}" for digit in typed)
        plain = int(bits[:96], 2).to_bytes(12, "big")
        digest = hashlib.sha256(f"veza_backup key sheet 1 line {found[1]}: ".encode() + plain)
        check = int.from_bytes(digest.digest()[:3], "big") >> 4
        require(bits[96:] == f"0000{check:020b}", f"sheet: checksum of line {found[1]}")
        lines[int(found[1])] = plain
    require(sorted(lines) == list(range(1, 9)), "sheet: lines are missing")
    packed = b"".join(lines[number] for number in range(1, 9))
    version, key_id, log_n, r, p, salt, nonce, wrapped = struct.unpack(
        "<B16sBBB16s12s48s", packed
    )
    require(version == 1 and log_n < 64, "sheet: unknown version")
    wrap = {"format": 1, "kdf": "scrypt", "cipher": "aes-256-gcm", "key_id": key_id.hex()}
    wrap.update(n=1 << log_n, r=r, p=p)
    for name, value in (("salt", salt), ("nonce", nonce), ("wrapped", wrapped)):
        wrap[name] = base64.b64encode(value).decode()
    key = unwrap_key(json.dumps(wrap).encode(), passphrase, "sheet")
    require(key, "the passphrase does not open the sheet")
    return key


# --- sealed objects ------------------------------------------------------------------------------


class SealedObject:
    """Opens the frames of one object. `raw` is the object, or at least its header."""

    def __init__(self, raw, kind, name, key):
        self.raw, self.kind, self.name = raw, kind, name
        require(len(raw) >= HEADER_SIZE, f"{name}: truncated header")
        self.header = bytes(raw[:HEADER_SIZE])
        magic, version, found_kind, self.cipher, compression, zeros, key_id, salt = struct.unpack(
            "<8sHBBB3s16s32s", self.header
        )
        require(magic == b"VEZABKUP", f"{name}: bad magic")
        require(version == 1, f"{name}: unknown version {version}")
        require(found_kind == kind, f"{name}: kind {found_kind} instead of {kind}")
        require(self.cipher in CIPHER_NAMES.values(), f"{name}: unknown cipher {self.cipher}")
        require(compression == 1, f"{name}: unknown compression {compression}")
        require(zeros == bytes(3), f"{name}: header bytes 13 to 15 are not zero")
        if self.cipher == CIPHER_NONE:
            require(key is None, f"{name}: not encrypted although encryption is configured")
            require(key_id == bytes(16), f"{name}: not encrypted but has a key id")
        else:
            require(key is not None, f"{name}: encrypted and there is no passphrase")
            require(key_id.hex() == key[0], f"{name}: has another key id")
            keys = hkdf(key[1], salt, b"veza_backup 1 object", 64)
            self.encryption_key, self.authentication_key = keys[:32], keys[32:]

    def sealed_size(self, plain):
        if self.cipher == CIPHER_NONE:
            return plain + 32
        if self.cipher == CIPHER_GCM:
            return plain + 16
        return 16 + (plain - plain % 16 + 16) + 32

    def frame_at(self, offset, number):
        """Returns (flags, plain text, offset of what follows)."""
        what = f"{self.name}: frame {number}"
        require(offset + 4 <= len(self.raw), f"{what}: truncated")
        word_bytes = bytes(self.raw[offset : offset + 4])
        (word,) = struct.unpack("<I", word_bytes)
        length, flags = word & LENGTH_MASK, word & ~LENGTH_MASK
        allowed, longest = LAST, LONGEST_PLAIN[self.kind]
        if number == ATTRIBUTES_FRAME:
            allowed, longest = 0, LONGEST_ATTRIBUTES
        elif self.kind == KIND_PACK:
            allowed = LAST | STORED
        require(flags & ~allowed == 0, f"{what}: bad flags")
        require(
            self.sealed_size(0) <= length <= self.sealed_size(longest), f"{what}: bad length"
        )
        body = bytes(self.raw[offset + 4 : offset + 4 + length])
        require(len(body) == length, f"{what}: truncated")
        aad = self.header + struct.pack("<Q", number) + word_bytes + self.name.encode()
        return flags, self.open_body(body, number, aad, what), offset + 4 + length

    def open_body(self, body, number, aad, what):
        if self.cipher == CIPHER_NONE:
            plain, digest = body[:-32], body[-32:]
            require(hashlib.sha256(aad + plain).digest() == digest, f"{what}: digest")
            return plain
        if self.cipher == CIPHER_GCM:
            try:
                nonce = struct.pack("<QI", number, 0)
                return AESGCM(self.encryption_key).decrypt(nonce, body, aad)
            except InvalidTag as error:
                raise Damaged(f"{what}: tag") from error
        iv, text, mac = body[:16], body[16:-32], body[-32:]
        expected = hmac.digest(self.authentication_key, aad + iv + text, "sha256")
        require(hmac.compare_digest(expected, mac), f"{what}: mac")
        require(len(text) % 16 == 0, f"{what}: bad length")
        decryptor = Cipher(algorithms.AES(self.encryption_key), modes.CBC(iv)).decryptor()
        unpadder = padding.PKCS7(128).unpadder()
        try:
            padded = decryptor.update(text) + decryptor.finalize()
            return unpadder.update(padded) + unpadder.finalize()
        except ValueError as error:
            raise Damaged(f"{what}: padding") from error

    def attributes(self):
        """Returns (attributes, offset of the first data frame)."""
        _, plain, offset = self.frame_at(HEADER_SIZE, ATTRIBUTES_FRAME)
        what = f"{self.name}: attributes"
        attributes = parse_object(plain, what)
        member(attributes, "node", str, what)
        created = member(attributes, "created", str, what)
        require(
            re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", created),
            f"{what}: bad time",
        )
        if "plain_size" in attributes:
            count_member(attributes, "plain_size", what)
        if "plain_sha256" in attributes:
            digest = member(attributes, "plain_sha256", str, what)
            require(re.fullmatch("[0-9a-f]{64}", digest), f"{what}: bad plain_sha256")
        if "plain_gmac" in attributes:
            digest = member(attributes, "plain_gmac", str, what)
            require(re.fullmatch("[0-9a-f]{32}", digest), f"{what}: bad plain_gmac")
            require(self.cipher != CIPHER_NONE, f"{what}: plain_gmac without a key")
            require("plain_sha256" not in attributes, f"{what}: two digests")
        return attributes, offset

    def frames(self):
        """Yields (number, offset, flags, plain text) of each data frame, including the last one."""
        _, offset = self.attributes()
        number, flags = 0, 0
        while not flags & LAST:
            begin = offset
            flags, plain, offset = self.frame_at(begin, number)
            yield number, begin, flags, plain
            number += 1
        require(offset == len(self.raw), f"{self.name}: bytes follow the last frame")


def decompressor():
    return zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW).decompressobj()


def open_stream(raw, name, key):
    """Returns (attributes, content)."""
    sealed = SealedObject(raw, KIND_STREAM, name, key)
    attributes, _ = sealed.attributes()
    content, zstd = bytearray(), decompressor()
    try:
        for number, _, flags, plain in sealed.frames():
            full = len(plain) == STREAM_PIECE
            require(flags & LAST or full, f"{name}: frame {number} is not full")
            if plain:
                require(not zstd.eof, f"{name}: bytes follow the compressed content")
                content += zstd.decompress(plain)
    except zstandard.ZstdError as error:
        raise Damaged(f"{name}: {error}") from error
    require(zstd.eof and not zstd.unused_data, f"{name}: not one whole zstd frame")
    size, digest = attributes.get("plain_size"), attributes.get("plain_sha256")
    require(size in (None, len(content)), f"{name}: plain_size")
    require(digest in (None, hashlib.sha256(content).hexdigest()), f"{name}: plain_sha256")
    if "plain_gmac" in attributes:
        require(attributes["plain_gmac"] == gmac_of(key, bytes(content)), f"{name}: plain_gmac")
    return attributes, bytes(content)


def open_extent(flags, plain, what):
    if flags & STORED:
        return plain
    zstd = decompressor()
    try:
        extent = zstd.decompress(plain)
    except zstandard.ZstdError as error:
        raise Damaged(f"{what}: {error}") from error
    require(zstd.eof and not zstd.unused_data, f"{what}: not one whole zstd frame")
    require(len(extent) <= LONGEST_PLAIN[KIND_PACK], f"{what}: longer than an extent may be")
    return extent


def open_pack(raw, name, key, largest=LARGEST_PACK):
    """Yields (number, offset, stored size, plain text) of each extent."""
    require(len(raw) <= largest, f"{name}: larger than it may be")
    sealed = SealedObject(raw, KIND_PACK, name, key)
    attributes, _ = sealed.attributes()
    require("plain_size" not in attributes, f"{name}: a pack has no plain_size")
    for number, offset, flags, plain in sealed.frames():
        if flags & LAST:
            require(plain == b"" and flags == LAST, f"{name}: the last frame is not empty")
        else:
            stored = 4 + sealed.sealed_size(len(plain))
            yield number, offset, stored, open_extent(flags, plain, f"{name}: extent {number}")


# --- indexes of WAL ------------------------------------------------------------------------------

INDEX_NAME = (
    r"walindex/(?P<system>\d+)/(?P<timeline>[0-9A-F]{8})/"
    r"(?P<first>(?P=timeline)[0-9A-F]{16})-(?P<last>(?P=timeline)[0-9A-F]{16})-"
    r"(?P<reader>\d+)-[0-9a-f]{16}"
)
PARTS = ("events", "blocks", "transactions")
MOST_32 = 2**32 - 1
LSN = "[0-9A-F]{1,8}/[0-9A-F]{1,8}"
EVENTS = {
    "transaction_ended": {
        "committed": bool, "prepared": bool, "time": int, "ended": int, "database": int,
        "dropped": dict,
    },
    "transaction_prepared": {"time": int, "ended": int, "database": int},
    "relation_created": {"tablespace": int, "database": int, "relation": int, "fork": int},
    "relation_truncated": {
        "tablespace": int, "database": int, "relation": int, "blocks": int, "main": bool,
        "visibility_map": bool, "free_space_map": bool,
    },
    "database_copied": {
        "database": int, "tablespace": int, "source_database": int, "source_tablespace": int,
    },
    "database_created": {"database": int, "tablespace": int},
    "database_dropped": {"database": int, "tablespaces": list},
    "tablespace_created": {"tablespace": int},
    "tablespace_dropped": {"tablespace": int},
    "restore_point": {"time": int},
    "checkpoint": {
        "shutdown": bool, "redo": str, "timeline": int, "previous_timeline": int,
        "full_page_writes": bool, "time": int,
    },
    "checkpoint_begun": {"wal_level": int},
    "parameters": {
        "wal_level": int, "wal_log_hints": bool, "track_commit_timestamp": bool,
        "max_connections": int, "max_worker_processes": int, "max_wal_senders": int,
        "max_prepared_transactions": int, "max_locks_per_transaction": int,
    },
    "full_page_writes": {"on": bool},
    "checksums": {"state": int},
    "recovery_ended": {"time": int, "timeline": int, "previous_timeline": int},
    "switch": {},
    "overwritten": {"overwritten": str, "time": int},
}


def lsn_member(document, name, what):
    text = member(document, name, str, what)
    require(re.fullmatch(LSN, text), f"{what}: {name} is no LSN")
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def show_lsn(lsn):
    return f"{lsn >> 32:X}/{lsn & MOST_32:X}"


def wrapped(number, bits):
    """The number as a signed one of so many bits."""
    number %= 1 << bits
    return number - (1 << bits) if number >> (bits - 1) else number


class Varints:
    def __init__(self, raw, what):
        self.raw, self.what, self.at = raw, what, 0

    def take(self, most=2**64 - 1):
        value = shift = 0
        while True:
            require(self.at < len(self.raw), f"{self.what}: cut off")
            byte = self.raw[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        require(byte or shift == 7, f"{self.what}: a number with needless bytes")
        require(value <= most, f"{self.what}: a number out of range")
        return value

    def count(self):
        value = self.take()
        require(value <= len(self.raw) - self.at, f"{self.what}: a count that cannot be")
        return value

    def step(self, bits):
        value = self.take(2**bits - 1)
        return value >> 1 if value % 2 == 0 else -(value + 1) // 2

    def at_end(self):
        return self.at == len(self.raw)


def index_blocks(raw, what):
    """Yields ((tablespace, database, relation, fork), first block, count)."""
    numbers, before = Varints(raw, what), None
    while not numbers.at_end():
        fork = tuple(numbers.take(MOST_32) for _ in range(3)) + (numbers.take(3),)
        require(before is None or fork > before, f"{what}: relations are out of order")
        before, last, word = fork, -1, numbers.take()
        require(word, f"{what}: a relation without blocks")
        while word:
            gap = word >> 1
            count = numbers.take() + 2 if word & 1 else 1
            require(gap >= (1 if last < 0 else 2), f"{what}: runs touch")
            first, last = last + gap, last + gap + count - 1
            require(last < MOST_32, f"{what}: a block that cannot be")
            yield fork, first, count
            word = numbers.take()


def index_ends(numbers, begin, size, what):
    ends = [{} for _ in range(numbers.count())]
    at, time, xid = begin, 0, 0
    for end in ends:
        at += numbers.take(size // 8) * 8
        end["begin"] = at
    for end, behind in zip(ends, [end["begin"] for end in ends[1:]] + [begin + size]):
        end["end"] = end["begin"] + numbers.take(size // 8) * 8
        require(end["begin"] + 24 <= end["end"] <= behind, f"{what}: records overlap")
    for end in ends:
        time += numbers.step(64)
        end["time"] = wrapped(time, 64)
    for end in ends:
        xid = (xid + numbers.step(32)) % 2**32
        end["xid"] = xid
    for end in ends:
        kind = numbers.take(15)
        end["committed"], end["prepared"] = kind & 1, kind >> 1 & 1
        end["database"], end["subtransactions"] = kind & 4, kind & 8
    for end in ends:
        if end["database"]:
            end["database"] = numbers.take(MOST_32)
            require(end["database"], f"{what}: database 0")
    for end in ends:
        xid, count = end["xid"], numbers.count() if end["subtransactions"] else 0
        require(count or not end["subtransactions"], f"{what}: no subtransactions")
        end["subtransactions"] = []
        for _ in range(count):
            xid = (xid + numbers.step(32)) % 2**32
            end["subtransactions"].append(xid)
    return ends


def index_touches(numbers, size, what):
    relations = [tuple(numbers.take(MOST_32) for _ in range(3)) for _ in range(numbers.count())]
    require(relations == sorted(set(relations)), f"{what}: relations are out of order")
    shapes = []
    for _ in range(numbers.count()):
        shape, number, count = [], -1, numbers.count()
        require(count, f"{what}: an empty shape")
        for _ in range(count):
            number += numbers.take(MOST_32) + 1
            require(number < len(relations), f"{what}: no such relation")
            shape.append((relations[number], numbers.take(MOST_32) + 1))
        shapes.append(shape)
    xids, xid = [], 0
    for i in range(numbers.count()):
        step = numbers.take(MOST_32)
        require(step or i == 0, f"{what}: transactions are out of order")
        xid += step
        require(xid <= MOST_32, f"{what}: an xid that cannot be")
        xids.append(xid)
    used, touches = 0, []
    for xid in xids:
        number = numbers.take(used)
        used += number == used
        require(number < len(shapes), f"{what}: no such shape")
        touches += [(xid, *touch) for touch in shapes[number]]
        require(len(touches) <= size // 20, f"{what}: more touches than there is room for")
    require(used == len(shapes), f"{what}: a shape that nothing uses")
    return touches


def index_events(raw, what):
    before = -1
    for line in raw.decode("utf-8").splitlines(keepends=True):
        require(line.endswith("\n"), f"{what}: cut off")
        event = parse_object(line.encode(), what)
        kind = member(event, "event", str, what)
        require(kind in EVENTS, f"{what}: unknown event {kind}")
        for name, of in EVENTS[kind].items():
            member(event, name, of, f"{what}: {kind}")
        begin, end = lsn_member(event, "begin", what), lsn_member(event, "end", what)
        require(before < begin < end, f"{what}: events are out of order")
        before = begin
        yield event


class Index:
    def __init__(self, raw, name, key):
        self.name, self.key = name, key
        frames = [
            (stored, plain) for _, _, stored, plain in open_pack(raw, name, key, LARGEST_INDEX)
        ]
        require(frames, f"{name}: no directory")
        directory = parse_object(frames[0][1], name)
        require(count_member(directory, "version", name) == 1, f"{name}: unknown version")
        place = re.fullmatch(INDEX_NAME, name)
        require(member(directory, "system", str, name) == place["system"], f"{name}: system")
        require(count_member(directory, "reader", name) == int(place["reader"]), f"{name}: reader")
        timeline = count_member(directory, "timeline", name)
        require(f"{timeline:08X}" == place["timeline"], f"{name}: timeline")
        self.size = count_member(directory, "segment_size", name)
        require(self.size in [1 << bits for bits in range(20, 31)], f"{name}: segment_size")
        self.segments = member(directory, "segments", list, name)
        require(1 <= len(self.segments) <= 64, f"{name}: number of segments")
        require(self.segments[0].get("segment") == place["first"], f"{name}: first segment")
        require(self.segments[-1].get("segment") == place["last"], f"{name}: last segment")
        self.frames, self.next_frame = frames, 1
        for i, segment in enumerate(self.segments):
            require(self.number(segment) == self.number(self.segments[0]) + i, f"{name}: a hole")
            self.check(segment, f"{name}: {segment['segment']}")
        require(self.next_frame == len(frames), f"{name}: frames that belong to no part")

    def number(self, segment):
        text = member(segment, "segment", str, self.name)
        require(re.fullmatch("[0-9A-F]{24}", text), f"{self.name}: {text} is no segment")
        return int(text[8:16], 16) * (2**32 // self.size) + int(text[16:], 16)

    def check(self, segment, what):
        require(("sha256" in segment) != ("gmac" in segment), f"{what}: one digest")
        if "gmac" in segment:
            require(self.key is not None, f"{what}: keyed digest without a key")
            require(re.fullmatch("[0-9a-f]{32}", segment["gmac"]), f"{what}: gmac")
        else:
            require(re.fullmatch("[0-9a-f]{64}", segment["sha256"]), f"{what}: sha256")
        for name in ("stored", "postgresql", "last_page_timeline", "records"):
            count_member(segment, name, what)
        segment["begin"] = lsn_member(segment, "begin", what)
        segment["end"] = lsn_member(segment, "end", what)
        require(
            segment.get("ends") in ("more", "switch", "unwritten", "damaged"), f"{what}: ends"
        )
        minutes = member(segment, "minutes", list, what)
        require(len(minutes) <= 256, f"{what}: too many minutes")
        require(all(len(minute) == 6 for minute in minutes), f"{what}: minutes")
        firsts = [minute[0] for minute in minutes]
        require(firsts == sorted(set(firsts)), f"{what}: minutes are out of order")
        for name in ("head", "tail"):
            if name in segment:
                kept = base64.b64decode(member(segment[name], "kept", str, what), validate=True)
                taken = count_member(segment[name], "taken", what)
                require(len(kept) <= min(taken, 4096), f"{what}: {name}")
        require(("doubt" in segment) == ("doubts" in segment), f"{what}: doubts")
        parts = member(segment, "parts", dict, what)
        segment["raw"] = {part: self.part(parts, part, f"{what}: {part}") for part in PARTS}

    def part(self, parts, part, what):
        if part not in parts:
            return b""
        place = member(parts, part, dict, what)
        require(count_member(place, "frame", what) == self.next_frame, f"{what}: frame")
        stored = member(place, "stored", list, what)
        frames = self.frames[self.next_frame : self.next_frame + len(stored)]
        self.next_frame += len(stored)
        require([size for size, _ in frames] == stored, f"{what}: stored")
        require(all(len(plain) == 1 << 20 for _, plain in frames[:-1]), f"{what}: a short frame")
        raw = b"".join(plain for _, plain in frames)
        require(len(raw) == count_member(place, "size", what), f"{what}: size")
        require(0 < len(raw) <= LARGEST_PART, f"{what}: size")
        return raw

    def text(self):
        """All that it says of each segment, line by line."""
        for segment in self.segments:
            what = f"{self.name}: {segment['segment']}"
            yield (
                f"segment {segment['segment']} stored {segment['stored']}"
                f" records {segment['records']} begin {show_lsn(segment['begin'])}"
                f" end {show_lsn(segment['end'])} {segment['ends']}"
                f" minutes {len(segment['minutes'])} head {int('head' in segment)}"
                f" tail {int('tail' in segment)} doubts {segment.get('doubts', 0)}"
            )
            for (space, database, relation, fork), first, count in index_blocks(
                segment["raw"]["blocks"], what
            ):
                yield f"blocks {space}/{database}/{relation} fork {fork}: {count} from {first}"
            if segment["raw"]["transactions"]:
                numbers = Varints(segment["raw"]["transactions"], what)
                begin = self.number(segment) * self.size
                for end in index_ends(numbers, begin, self.size, what):
                    yield (
                        f"end {show_lsn(end['begin'])} {show_lsn(end['end'])} {end['time']}"
                        f" xid {end['xid']} database {end['database']} {end['committed']}"
                        f" {end['prepared']}"
                        + "".join(f" {xid}" for xid in end["subtransactions"])
                    )
                for xid, (space, database, relation), blocks in index_touches(
                    numbers, self.size, what
                ):
                    yield f"touch {xid} {space}/{database}/{relation}: {blocks}"
                require(numbers.at_end(), f"{what}: bytes follow the transactions")
            for event in index_events(segment["raw"]["events"], what):
                yield f"event {event['event']} {event['begin']} {event['end']} xid {event['xid']}"


# --- documents -----------------------------------------------------------------------------------


def open_document(raw, name, key):
    document = parse_object(raw, name)
    check_format(document, name)
    mac = member(document, "mac", str, name)
    del document["mac"]
    try:
        canonical = json.dumps(
            document, sort_keys=True, ensure_ascii=False, separators=(",", ":")
        ).encode("utf-8")
    except UnicodeEncodeError as error:
        raise Damaged(f"{name}: {error}") from error
    algorithm = document.pop("mac_algorithm", None)
    if algorithm == "sha-256":
        require(key is None, f"{name}: signed without a key although encryption is configured")
        expected = hashlib.sha256(name.encode() + b"\0" + canonical).hexdigest()
    elif algorithm == "hmac-sha-256":
        require(key is not None, f"{name}: signed with a key and there is no passphrase")
        mac_key = hkdf(key[1], None, b"veza_backup 1 document " + name.encode(), 32)
        expected = hmac.new(mac_key, canonical, "sha256").hexdigest()
    else:
        raise Damaged(f"{name}: unknown mac_algorithm")
    require(hmac.compare_digest(expected.encode(), mac.encode()), f"{name}: mac")
    return document


# --- manifests -----------------------------------------------------------------------------------


def record_path(record, what):
    require(("path" in record) != ("path_base64" in record), f"{what}: one path is needed")
    if "path" in record:
        return member(record, "path", str, what).encode("utf-8")
    encoded = member(record, "path_base64", str, what)
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise Damaged(f"{what}: {error}") from error


def safe_path(path, what):
    parts = path.split(b"/")
    require(all(part not in (b"", b".", b"..") for part in parts), f"{what}: bad path {path!r}")
    require(b"\0" not in path, f"{what}: bad path {path!r}")
    return path


def record_mode(record, what):
    mode = member(record, "mode", str, what)
    require(re.fullmatch("[0-7]{1,5}", mode), f"{what}: bad mode {mode!r}")
    return int(mode, 8)


def pieces_between(offset, length, taken):
    """Returns the parts of a file that an extent at `offset` contains when `taken` comes from elsewhere."""
    pieces, start, end = [], offset, offset + length
    for other, other_length in taken:
        if other + other_length <= offset or other >= end:
            continue
        if other > start:
            pieces.append((start - offset, other - start, start))
        start = max(start, other + other_length)
    if start < end:
        pieces.append((start - offset, end - start, start))
    return pieces


class Manifest:
    """All records of a backup, checked against each other."""

    def __init__(self, content, label, name, block_size, sources):
        self.name = name
        self.kind = kind_of_label(label)
        self.sources = sources  # labels of the other backups whose packs are named
        self.block_size = block_size
        self.tablespaces = {}  # oid -> path
        self.directories = {}  # path -> mode
        self.files = {}  # path -> record
        self.packs = {}  # number -> record
        self.other_packs = {}  # (number of the source, from 1; number) -> record
        # (number of the source, or 0; pack; frame) -> (path, pieces, extent). `pieces` are the parts
        # of the file that the extent contains: (offset in the plain text, length, offset in the
        # file).
        self.places = {}
        self.extents = 0
        lines = content.split(b"\n")
        require(len(lines) >= 3 and lines[-1] == b"", f"{name}: not whole lines")
        records = [parse_object(line, f"{name}: line {i}") for i, line in enumerate(lines[:-1], 1)]
        first = records[0]
        require(first.get("type") == "manifest", f"{name}: first record")
        self.version = first.get("version")
        allowed = (3,) if self.kind == "incr" else (1, 2)
        require(self.version in allowed, f"{name}: unknown version {self.version}")
        require(first.get("label") == label, f"{name}: label {first.get('label')}")
        add = {
            "tablespace": self.add_tablespace,
            "directory": self.add_directory,
            "file": self.add_file,
            "pack": self.add_pack,
            "full_pack": self.add_full_pack,
            "source_pack": self.add_source_pack,
        }
        for line, record in enumerate(records[1:-1], 2):
            require(record.get("type") in add, f"{name}: line {line}: unknown record")
            add[record["type"]](record, f"{name}: line {line}")
        self.check_end(records[-1])
        self.check_packs()

    def add_tablespace(self, record, what):
        oid = count_member(record, "oid", what)
        require(oid not in self.tablespaces, f"{what}: tablespace {oid} twice")
        self.tablespaces[oid] = record_path(record, what)

    def add_new_path(self, path, what):
        require(path not in self.directories and path not in self.files, f"{what}: path twice")
        if path:
            parent = os.path.dirname(safe_path(path, what))
            require(parent in self.directories, f"{what}: its directory did not come before")

    def add_directory(self, record, what):
        path = record_path(record, what)
        self.add_new_path(path, what)
        self.directories[path] = record_mode(record, what)

    def add_file(self, record, what):
        path = record_path(record, what)
        require(path, f"{what}: a file needs a name")
        self.add_new_path(path, what)
        record_mode(record, what)
        member(record, "mtime", int, what)
        size = count_member(record, "size", what)
        taken = self.add_pages(record, path, size, what)
        offset = 0
        for extent in member(record, "extents", list, what):
            require(isinstance(extent, list) and len(extent) in (1, 6, 7), f"{what}: bad extent")
            source = extent[6] if len(extent) == 7 else 0
            if len(extent) == 7:
                self.check_source(source, what)
            if len(extent) == 1:
                require(type(extent[0]) is int and extent[0] > 0, f"{what}: bad hole")
            else:
                pieces = pieces_between(offset, extent[0], taken)
                self.add_extent(extent, source, path, pieces, what)
            offset += extent[0]
            self.extents += 1
        require(offset == size, f"{what}: size")
        self.files[path] = record

    def check_source(self, source, what):
        right = type(source) is int and 1 <= source <= len(self.sources)
        require(right, f"{what}: bad source {source}")

    def add_extent(self, extent, source, path, pieces, what):
        numbers = extent[:5]
        right = all(type(number) is int and number >= 0 for number in numbers)
        require(right and 0 < extent[0] <= LONGEST_PLAIN[KIND_PACK], f"{what}: bad extent")
        digest = extent[5]
        require(
            isinstance(digest, str) and re.fullmatch("[0-9a-f]{32}", digest), f"{what}: bad digest"
        )
        place = source, extent[1], extent[2]
        require(place not in self.places, f"{what}: extent belongs to two files")
        self.places[place] = path, pieces, extent

    def add_pages(self, record, path, size, what):
        """Adds the parts of the file that page extents contain: (offset, length), by offset."""
        taken = []
        for item in record.get("pages", []):
            right = self.kind != "full" and isinstance(item, list) and len(item) in (7, 8)
            require(right, f"{what}: bad pages")
            source, runs = (item[6], item[7]) if len(item) == 8 else (0, item[6])
            if source != 0:
                require(self.kind == "incr", f"{what}: pages of another backup")
                self.check_source(source, what)
            pieces, position = [], 0
            for at, first, count in self.runs_of(runs, source, what):
                offset, length = first * self.block_size, count * self.block_size
                require(count > 0 and offset + length <= size, f"{what}: page past the end")
                require(at * self.block_size >= position, f"{what}: pages overlap")
                position = at * self.block_size
                pieces.append((position, length, offset))
                taken.append((offset, length))
                position += length
            right = position <= item[0] if source else position == item[0]
            require(right, f"{what}: pages do not add up")
            self.add_extent(item, source, path, pieces, what)
            self.extents += 1
        taken.sort()
        for before, after in zip(taken, taken[1:]):
            require(before[0] + before[1] <= after[0], f"{what}: a page comes twice")
        return taken

    @staticmethod
    def runs_of(runs, source, what):
        """Yields (page in the extent, page in the file, number of pages)."""
        each = 3 if source else 2
        right = isinstance(runs, list) and runs and len(runs) % each == 0
        right = right and all(type(number) is int and number >= 0 for number in runs)
        require(right, f"{what}: bad pages")
        if source:
            yield from zip(runs[::3], runs[1::3], runs[2::3])
            return
        at = 0
        for first, count in zip(runs[::2], runs[1::2]):
            yield at, first, count
            at += count

    def add_pack(self, record, what):
        number = count_member(record, "number", what)
        self.add_pack_to(self.packs, number, record, what)

    def add_full_pack(self, record, what):
        require(self.kind == "diff", f"{what}: only a diff has packs of its full")
        number = count_member(record, "number", what)
        self.add_pack_to(self.other_packs, (1, number), record, what)

    def add_source_pack(self, record, what):
        require(self.kind == "incr", f"{what}: only an incr has packs of sources")
        self.check_source(record.get("source"), what)
        number = count_member(record, "number", what)
        self.add_pack_to(self.other_packs, (record["source"], number), record, what)

    def add_pack_to(self, packs, place, record, what):
        number = record["number"]
        require(1 <= number <= 99999999, f"{what}: bad pack number")
        require(place not in packs, f"{what}: pack {number} twice")
        count_member(record, "size", what)
        count_member(record, "frames", what)
        from_base64(member(record, "header", str, what), HEADER_SIZE, what)
        if "digest" in record:
            require(record["digest"] == "gmac", f"{what}: unknown digest {record['digest']}")
            require(self.version >= 2, f"{what}: digest of version 2 in version {self.version}")
        packs[place] = record

    def check_end(self, end):
        require(end.get("type") == "end", f"{self.name}: no end")
        counts = {
            "files": len(self.files),
            "directories": len(self.directories),
            "extents": self.extents,
            "packs": len(self.packs),
            "size": sum(record["size"] for record in self.files.values()),
        }
        for what, count in counts.items():
            require(end.get(what) == count, f"{self.name}: {what} {end.get(what)}, not {count}")

    def check_packs(self):
        used = {number: 0 for number in self.packs}
        for source, pack, frame in self.places:
            record = self.other_packs.get((source, pack)) if source else self.packs.get(pack)
            require(record is not None, f"{self.name}: extent in unknown pack {pack}")
            require(frame < record["frames"], f"{self.name}: extent past pack {pack}")
            if not source:
                used[pack] += 1
        for number, record in self.packs.items():
            require(used[number] == record["frames"], f"{self.name}: extents of pack {number}")


def kind_of_label(label):
    return {"F": "full", "D": "diff", "I": "incr"}[label[-1]]


# --- repositories --------------------------------------------------------------------------------

NAMES = {
    "identity": r"identity/\d+",
    "key": r"key/[0-9a-f]{32}\.[0-9a-f]{16}",
    "wal": r"wal/\d+/(?P<tli>[0-9A-F]{8})/"
    r"((?P<log>[0-9A-F]{8})/(?P=tli)(?P=log)[0-9A-F]{8}(\.partial|\.[0-9A-F]{8}\.backup)?"
    r"|(?P=tli)\.history)",
    "pack": r"backup/[^/]+/pack/\d{8}",
    "manifest": r"backup/[^/]+/manifest",
    "backup": r"backup/\d{8}-\d{6}F(_\d{8}-\d{6}[DI])?/backup\.json",
    "walindex": r"walindex/\d+/[0-9A-F]{8}/[0-9A-F]{24}-[0-9A-F]{24}-\d+-[0-9a-f]{16}",
    "format": r"format/2",
    "damage": r"damage/\d{8}-\d{6}F(_\d{8}-\d{6}[DI])?",
    "probe": r"probe/.*",
}


def kind_of(name):
    return next((kind for kind, form in NAMES.items() if re.fullmatch(form, name)), None)


class Repository:
    def __init__(self, root, passphrase):
        self.root = root
        self.key = None
        identities = [name for name in self.names() if kind_of(name) == "identity"]
        require(identities, "no identity: the repository is not initialised")
        claimed = [parse_object(self.read(name), name) for name in identities]
        if passphrase is not None:
            key_id = member(claimed[0], "key_id", str, identities[0])
            self.key = self.find_key(key_id, passphrase)
        self.identities = {}
        for name in identities:
            identity = open_document(self.read(name), name, self.key)
            system = member(identity, "system_identifier", str, name)
            require(name == f"identity/{system}", f"{name}: is of system {system}")
            cipher = identity.get("cipher")
            require(cipher in CIPHER_NAMES, f"{name}: unknown cipher {cipher}")
            require((cipher == "none") == (self.key is None), f"{name}: cipher {cipher}")
            key_id = self.key[0] if self.key else None
            require(identity.get("key_id") == key_id, f"{name}: another key id")
            self.identities[system] = identity

    def names(self):
        found = []
        for directory, _, files in os.walk(self.root):
            for file in files:
                found.append(os.path.relpath(os.path.join(directory, file), self.root))
        return sorted(found)

    def read(self, name):
        try:
            with open(os.path.join(self.root, name), "rb") as file:
                return file.read()
        except FileNotFoundError as error:
            raise Damaged(f"{name}: does not exist") from error

    def exists(self, name):
        return os.path.exists(os.path.join(self.root, name))

    def find_key(self, key_id, passphrase):
        for name in self.names():
            if name.startswith(f"key/{key_id}."):
                key = unwrap_key(self.read(name), passphrase, name)
                if key is not None:
                    require(key[0] == key_id, f"{name}: wraps key {key[0]}")
                    return key
        raise Damaged(f"the passphrase opens no wrap of key {key_id}")

    def content(self, name):
        """Yields the verified content of an object in pieces."""
        kind, raw = kind_of(name), self.read(name)
        if kind in ("wal", "manifest"):
            attributes, content = open_stream(raw, name, self.key)
            described = {"plain_size", "plain_sha256", "plain_gmac"} & set(attributes)
            require(len(described) == (2 if kind == "wal" else 0), f"{name}: attributes")
            yield content
        elif kind == "pack":
            for _, _, _, plain in open_pack(raw, name, self.key):
                yield plain
        elif kind == "walindex":
            require(re.fullmatch(INDEX_NAME, name), f"{name}: timeline")
            for line in Index(raw, name, self.key).text():
                yield line.encode() + b"\n"
        elif kind in ("identity", "backup", "format"):
            document = open_document(raw, name, self.key)
            if kind == "format":
                require(name == f"format/{document.get('version')}", f"{name}: version")
            yield json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"
        elif kind == "damage":
            document = open_document(raw, name, self.key)
            self.check_damage(document, name)
            yield json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"
        elif kind == "key":
            # A wrap may be signed, by a name that does not change with the object's.
            ours = self.key and name.startswith(f"key/{self.key[0]}.")
            if ours and "mac" in parse_object(raw, name):
                open_document(raw, name.split(".")[0], self.key)
            yield raw
        elif kind == "probe":
            yield raw
        else:
            raise Damaged(f"{name}: no object of a repository has this name")

    def check_damage(self, document, name):
        """A record of damage is of a backup that is there, and names parts of it."""
        label = name.split("/")[1]
        backup_name = f"backup/{label}/backup.json"
        backup = open_document(self.read(backup_name), backup_name, self.key)
        digest = member(document, "manifest_sha256", str, name)
        require(digest == backup.get("manifest_sha256"), f"{name}: is about another manifest")
        node = member(document, "node", str, name)
        require(len(node.encode()) <= 255, f"{name}: node is too long")
        require(all(" " <= c != "\x7f" for c in node), f"{name}: control characters in node")
        objects = member(document, "objects", list, name)
        require(1 <= len(objects) <= 100, f"{name}: {len(objects)} objects")
        require(count_member(document, "count", name) >= len(objects), f"{name}: count")
        for part in objects:
            ours = isinstance(part, str) and part.startswith(f"backup/{label}/")
            require(ours and kind_of(part) in ("pack", "manifest"), f"{name}: names {part}")

    def attributes(self, name):
        kind = KIND_PACK if kind_of(name) in ("pack", "walindex") else KIND_STREAM
        return SealedObject(self.read(name), kind, name, self.key).attributes()[0]

    def wal(self, file, system):
        tli, log = file[:8], file[8:16]
        place = file if file.endswith(".history") else f"{log}/{file}"
        if system is None:
            require(len(self.identities) == 1, "several systems: --system-id is needed")
            system = next(iter(self.identities))
        name = f"wal/{system}/{tli}/{place}"
        require(kind_of(name) == "wal", f'"{file}" is no name of a WAL file')
        return b"".join(self.content(name))

    def backup(self, label):
        """Returns (backup.json, manifest), checked against each other."""
        name = f"backup/{label}/backup.json"
        backup = open_document(self.read(name), name, self.key)
        require(backup.get("label") == label, f"{name}: is of label {backup.get('label')}")
        kind = kind_of_label(label)
        require(backup.get("type") == kind, f"{name}: type {backup.get('type')}")
        sources = self.sources(label, kind, backup, name)
        system = backup.get("system_identifier")
        require(system in self.identities, f"{name}: of unknown system {system}")
        manifest_name = f"backup/{label}/manifest"
        raw = self.read(manifest_name)
        require(len(raw) == backup.get("manifest_size"), f"{name}: manifest_size")
        digest = hashlib.sha256(raw).hexdigest()
        require(digest == backup.get("manifest_sha256"), f"{name}: manifest_sha256")
        block_size = count_member(backup, "block_size", name)
        require(block_size > 0, f"{name}: block_size")
        content = b"".join(self.content(manifest_name))
        manifest = Manifest(content, label, manifest_name, block_size, sources)
        named = {source for source, _, _ in manifest.places if source}
        if kind == "incr":
            require(len(named) == len(sources), f"{name}: names sources that the manifest does not")
        stored = len(raw) + sum(pack["size"] for pack in manifest.packs.values())
        expected = {
            "files": len(manifest.files),
            "packs": len(manifest.packs),
            "size": sum(record["size"] for record in manifest.files.values()),
            "stored_size": stored,
        }
        for what, value in expected.items():
            require(backup.get(what) == value, f"{name}: {what} {backup.get(what)}, not {value}")
        return backup, manifest

    def sources(self, label, kind, backup, name):
        """Returns the labels of the backups whose packs the manifest names, by their numbers."""
        full = label.split("_")[0]
        claimed = {
            "full": [],
            "diff": [{"label": full, "manifest_sha256": backup.get("full_manifest_sha256")}],
            "incr": backup.get("sources"),
        }[kind]
        if kind == "incr":
            require(isinstance(claimed, list) and len(claimed) <= 250, f"{name}: sources")
        labels = []
        for source in claimed:
            other = member(source, "label", str, name)
            older = other[-16:-1] < label[-16:-1] and other.split("_")[0] == full
            require(older and other not in labels, f"{name}: source {other}")
            digest = hashlib.sha256(self.read(f"backup/{other}/manifest")).hexdigest()
            require(digest == source.get("manifest_sha256"), f"{name}: manifest of {other}")
            require(
                self.exists(f"backup/{other}/backup.json"), f"{name}: there is no backup {other}"
            )
            labels.append(other)
        return labels

    def extents(self, label, manifest):
        """Yields (path, pieces, plain text) of every extent of a backup."""
        frames = {}
        for source, number, frame in manifest.places:
            frames.setdefault((source, number), set()).add(frame)
        packs = {(0, number): record for number, record in manifest.packs.items()}
        packs.update(manifest.other_packs)
        for place in sorted(packs):
            source, number = place
            owner = manifest.sources[source - 1] if source else label
            wanted = frames.get(place, set())
            if wanted or not source:
                name = f"backup/{owner}/pack/{number:08}"
                yield from self.extents_of_pack(name, manifest, place, packs[place], wanted)

    def extent_digest(self, pack, plain, what):
        if "digest" not in pack:
            return hashlib.sha256(plain).hexdigest()[:32]
        require(self.key is not None, f"{what}: keyed digests without a key")
        return gmac_of(self.key, plain)

    def extents_of_pack(self, name, manifest, place, record, wanted):
        source, number = place
        raw = self.read(name)
        require(len(raw) == record["size"], f"{name}: size")
        require(raw[:HEADER_SIZE] == base64.b64decode(record["header"]), f"{name}: header")
        frames = 0
        for frame, offset, stored, plain in open_pack(raw, name, self.key):
            what = f"{name}: extent {frame}"
            frames += 1
            if source and frame not in wanted:
                continue
            require(frame in wanted, f"{what}: belongs to no file")
            path, pieces, extent = manifest.places[source, number, frame]
            length, _, _, expected_offset, expected_stored, digest = extent[:6]
            require(offset == expected_offset, f"{what}: offset")
            require(stored == expected_stored, f"{what}: stored size")
            require(len(plain) == length, f"{what}: length")
            require(self.extent_digest(record, plain, what) == digest, f"{what}: digest")
            yield path, pieces, plain
        require(frames == record["frames"], f"{name}: {frames} extents")


def restore(repository, label, target, moved_tablespaces):
    _, manifest = repository.backup(label)
    target = os.fsencode(target)
    os.makedirs(target, exist_ok=True)
    require(not os.listdir(target), f"{os.fsdecode(target)} is not empty")
    for path in manifest.directories:
        oid = path[len(b"pg_tblspc/") :] if path.startswith(b"pg_tblspc/") else b""
        if oid.isdigit() and int(oid) in manifest.tablespaces:
            location = moved_tablespaces.get(int(oid), manifest.tablespaces[int(oid)])
            os.makedirs(location, exist_ok=True)
            require(not os.listdir(location), f"{os.fsdecode(location)} is not empty")
            os.symlink(location, os.path.join(target, path))
        elif path:
            os.mkdir(os.path.join(target, path), 0o700)
    for path, record in manifest.files.items():
        with open(os.path.join(target, path), "xb") as file:
            file.truncate(record["size"])
    for path, pieces, plain in repository.extents(label, manifest):
        with open(os.path.join(target, path), "r+b") as file:
            for begin, length, offset in pieces:
                file.seek(offset)
                file.write(plain[begin : begin + length])
    for path, record in manifest.files.items():
        full = os.path.join(target, path)
        os.chmod(full, record_mode(record, "mode"))
        os.utime(full, (record["mtime"], record["mtime"]))
    for path, mode in sorted(manifest.directories.items(), reverse=True):
        os.chmod(os.path.join(target, path), mode)


def verify(repository):
    in_backups = set()
    for name in repository.names():
        if kind_of(name) == "backup":
            label = name.split("/")[1]
            _, manifest = repository.backup(label)
            for _ in repository.extents(label, manifest):
                pass
            in_backups |= {f"backup/{label}/pack/{number:08}" for number in manifest.packs}
    for name in repository.names():
        if name not in in_backups:
            for _ in repository.content(name):
                pass
        print(f"ok {name}")


def main():
    parser = argparse.ArgumentParser(description="A second reader of veza_backup's repositories.")
    parser.add_argument("--root", required=True, help="directory of the cluster in the repository")
    parser.add_argument("--passphrase-file", help="absent for cipher none")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ls")
    commands.add_parser("verify")
    cat = commands.add_parser("cat")
    cat.add_argument("object")
    sheet = commands.add_parser("sheet", help="open an exported key, and compare it")
    sheet.add_argument("file")
    attributes = commands.add_parser("attributes")
    attributes.add_argument("object")
    wal = commands.add_parser("wal")
    wal.add_argument("name")
    wal.add_argument("out")
    wal.add_argument("--system-id")
    back = commands.add_parser("restore")
    back.add_argument("label")
    back.add_argument("target")
    back.add_argument("--tablespace", action="append", default=[], metavar="OID=DIRECTORY")
    arguments = parser.parse_args()

    passphrase = None
    if arguments.passphrase_file:
        with open(arguments.passphrase_file, "rb") as file:
            passphrase = file.read().rstrip(b"\r\n")
    repository = Repository(arguments.root, passphrase)
    if arguments.command == "ls":
        for name in repository.names():
            print(f"{kind_of(name) or '?':9} {len(repository.read(name)):>10} {name}")
    elif arguments.command == "verify":
        verify(repository)
    elif arguments.command == "cat":
        for piece in repository.content(arguments.object):
            sys.stdout.buffer.write(piece)
    elif arguments.command == "sheet":
        with open(arguments.file, encoding="ascii") as file:
            key = unwrap_sheet(file.read(), passphrase)
        require(key == repository.key, "the sheet is of another key")
        print(f"key {key[0]}")
    elif arguments.command == "attributes":
        print(json.dumps(repository.attributes(arguments.object)))
    elif arguments.command == "wal":
        content = repository.wal(arguments.name, arguments.system_id)
        with open(arguments.out, "wb") as file:
            file.write(content)
    else:
        moved = dict(mapping.split("=", 1) for mapping in arguments.tablespace)
        moved = {int(oid): os.fsencode(path) for oid, path in moved.items()}
        restore(repository, arguments.label, arguments.target, moved)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Damaged as problem:
        print(f"veza_reader: {problem}", file=sys.stderr)
        sys.exit(1)
    except (OSError, ValueError) as problem:
        print(f"veza_reader: {problem}", file=sys.stderr)
        sys.exit(2)
