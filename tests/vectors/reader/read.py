#!/usr/bin/env python3
"""Reads a state directory as docs/spec says, and nothing else of this repository.

    read.py DIR USER password|pin WORD     says what USER has in DIR
    read.py --keys DIR USER ...            and every key on the way to it
    read.py --keys --argon HEX DIR ...     the same, if somebody knows what Argon2id makes of WORD
    read.py --vectors state.json           reads every vector, and says what differs

It only reads. Python 3.9 or later, standard library. Argon2id is slow here: with
the parameters of a shipped system it takes about half a minute."""
import hashlib
import json
import os
import re
import struct
import sys

from primitives import aead_open, argon2id, check, derive, file_id, hmac256, kek, tuple_, u64, unwrap


class Fault(Exception):
    """What is wrong with a directory: a class, and where."""

    def __init__(self, kind, file=None, offset=0, text=""):
        super().__init__(f"{kind}: {file} at offset {offset}: {text}" if file else kind)
        self.kind, self.file, self.offset = kind, file, offset


class File:
    """A file that is read from its beginning to its end."""

    def __init__(self, path, data, at=0):
        self.path, self.data, self.at, self.field = path, data, at, at

    def fail(self, offset=None, text="", kind="damaged"):
        raise Fault(kind, self.path, self.field if offset is None else offset, text)

    def take(self, n):
        if len(self.data) - self.at < n:
            self.fail(self.at, "cut short")
        self.field, self.at = self.at, self.at + n
        return self.data[self.field:self.at]

    def number(self, n):
        return int.from_bytes(self.take(n), "little")

    def must(self, ok, text):
        if not ok:
            self.fail(text=text)


def crc32c(data):
    c = 0xFFFFFFFF
    for x in data:
        c ^= x
        for _ in range(8):
            c = (c >> 1) ^ (0x82F63B78 if c & 1 else 0)
    return c ^ 0xFFFFFFFF


def name_ok(b, most):
    """Canonical names: printable ASCII without a space."""
    return 1 <= len(b) <= most and all(0x21 <= c <= 0x7E for c in b)


def id_ok(b, most):
    """Canonical ids of users and apps."""
    return len(b) <= most and re.fullmatch(rb"[a-z][a-z0-9]*([._-][a-z0-9]+)*", b) is not None


# ---- docs/spec/state.md ----

def read_boot(files):
    f = File("boot", files.get("boot", b""))
    if "boot" not in files:
        f.fail(0, "missing")
    if len(f.data) != 20:
        f.fail(min(len(f.data), 20), "length")
    for ok, offset in [
        (f.data[:4] == b"NXBT", 0), (f.data[16:] == struct.pack("<I", crc32c(f.data[:16])), 16), (f.data[4:6] == b"\1\0", 4),
        (f.data[6] in (1, 2), 6), (f.data[7] == 0, 7), (f.data[8:16] != bytes(8), 8),
    ]:
        if not ok:
            f.fail(offset)
    return f.data[6]


def summed(path, data, magic, version, least):
    """What device.salt and root.keys have in common."""
    f = File(path, data)
    if len(data) < least:
        f.fail(len(data), "too short")
    if data[:4] != magic:
        f.fail(0, "magic")
    if hashlib.sha256(data[:-32]).digest() != data[-32:]:
        f.fail(len(data) - 32, "checksum")
    if data[4:6] != struct.pack("<H", version):
        f.fail(4, kind="unsupported")
    return f


SALT_PATH = "state/keymint/device.salt"


def read_salt(files):
    if SALT_PATH not in files:
        raise Fault("damaged", SALT_PATH, 0, "missing")
    f = summed(SALT_PATH, files[SALT_PATH], b"NXDS", 1, 70)
    if len(f.data) != 70:
        f.fail(70, "longer")
    return f.data[6:38]


# ---- docs/spec/identity.md ----

def read_users(files):
    path = "state/identity/users.db"
    if path not in files:
        if any(p.startswith("state/identity/") and p != GUESSES_PATH for p in files):
            raise Fault("damaged", path, 0, "missing")
        return {}
    data = files[path]
    f = File(path, data)
    if len(data) > 7680:
        f.fail(7680)
    if len(data) < 39:
        f.fail(len(data))
    if data[:4] != b"NXUD":
        f.fail(0, "magic")
    if data[4:6] != b"\2\0":
        f.fail(4, "version")
    if hashlib.sha256(data[:-32]).digest() != data[-32:]:
        f.fail(len(data) - 32, "checksum")
    f.data, f.at = data[:-32], 6
    users, before = {}, b""
    count = f.number(1)
    f.must(count <= 16, "users")
    for _ in range(count):
        user = read_user(f, before)
        before = user["id"]
        users[before] = user
    if f.at != len(f.data):
        f.fail(f.at, "more bytes")
    return users


def read_user(f, before):
    n = f.number(1)
    f.must(1 <= n <= 32, "length of id")
    name = f.take(n)
    f.must(id_ok(name, 32) and name > before, "id")
    user = {"id": name, "incarnation": f.take(16), "protectors": {}}
    f.must(user["incarnation"] != bytes(16), "incarnation")
    user["state"] = f.number(1)
    f.must(1 <= user["state"] <= 3, "state")
    flags = f.number(1)
    f.must(flags == 0 or flags == 1 and user["state"] == 2, "flags")
    user["vault"] = flags == 1
    following = f.number(8)
    f.must(following >= 1, "next protector")
    count = f.number(1)
    f.must(count <= 3 and (count > 0) == (user["state"] == 2), "protectors")
    ids, kind = set(), 0
    for _ in range(count):
        p = {"id": f.number(8)}
        f.must(1 <= p["id"] < following and p["id"] not in ids, "protector id")
        ids.add(p["id"])
        least, kind = kind + 1, f.number(1)
        f.must(least <= kind <= 3, "kind")
        f.must(f.number(1) == 0x13, "Argon2 version")
        at = f.at
        p["memory"], p["passes"], p["lanes"] = f.number(4), f.number(4), f.number(1)
        good = 1 <= p["lanes"] <= 4 and 8 * p["lanes"] <= p["memory"] <= 262144
        if not (good and 1 <= p["passes"] <= 16 and p["memory"] * p["passes"] <= 1048576):
            f.fail(at, "Argon2id parameters")
        p["salt"], p["verifier"] = f.take(16), f.take(32)
        user["protectors"][kind] = p
    return user


GUESSES_PATH = "state/identity/guesses"


def read_guesses(files, users):
    """How often was guessed in vain, by incarnation: it decides over nothing that is read here, but the system wants it whole."""
    if GUESSES_PATH not in files:
        if users:
            raise Fault("damaged", GUESSES_PATH, 0, "missing")
        return {}
    f = File(GUESSES_PATH, files[GUESSES_PATH])
    if len(f.data) != 598:
        f.fail(min(len(f.data), 598), "length")
    for ok, offset in [(f.data[:4] == b"NXGS", 0), (f.data[4:6] == b"\1\0", 4), (hashlib.sha256(f.data[:-32]).digest() == f.data[-32:], 566)]:
        if not ok:
            f.fail(offset)
    failures = {}
    for at in range(38, 38 + 16 * 17, 17):
        incarnation, n = f.data[at:at + 16], f.data[at + 16]
        if incarnation in failures:
            f.fail(at, "a user twice")
        if incarnation == bytes(16):
            if n:
                f.fail(at + 16, "failures of nobody")
            continue
        failures[incarnation] = n
    return failures


KINDS = {"password": 1, "pin": 2, "recovery": 3}


def login(users, name, kind, word, known=None):
    """The user, the protector and the auth token."""
    user = users.get(name)
    p = user and user["protectors"].get(KINDS[kind])
    if not p:
        raise Fault("bad-secret")
    out = known or argon2id(word, p["salt"], p["passes"], p["memory"], p["lanes"], 64)
    if hashlib.sha256(out[:32]).digest() != p["verifier"]:
        raise Fault("bad-secret")
    return user, p, out[32:]


# ---- docs/spec/keymint.md ----

def wrap_ad(user, purpose, key_id, *more):
    return tuple_(b"nexus wrap v1", purpose, user["id"], user["incarnation"], key_id, *more)


def opened(path, under, ad, wrapped, at=0):
    """The plaintext of a wrap that begins at that place of a file."""
    plain = unwrap(under, ad, wrapped)
    offset = {"layout": 0, "wrong-key": 25, "not-authentic": 57}
    if isinstance(plain, str):
        raise Fault(plain if plain == "wrong-key" and at else "damaged", path, at + offset[plain], plain)
    return plain


def read_root(files, user, protector, auth, salt):
    """The root key, and what keys.head is compared with."""
    path = f"state/identity/{user['id'].decode()}/root.keys"
    if path not in files:
        raise Fault("damaged", path, 0, "missing")
    data = files[path]
    if len(data) > 551:
        raise Fault("damaged", path, 551, "longer")
    f = summed(path, data, b"NXRK", 2, 212)
    if data[6:22] != user["incarnation"]:
        f.fail(6, "incarnation")
    if data[22:30] == bytes(8):
        f.fail(22, "generation")
    count = data[34]
    if not 1 <= count <= 4 or len(data) != 99 + 113 * count:
        f.fail(34, "count")
    last, root = 0, None
    for i in range(count):
        at = 35 + 113 * i
        number = int.from_bytes(data[at:at + 8], "little")
        if number <= last:
            f.fail(at, "id")
        last = number
    for i in range(count):
        at = 35 + 113 * i
        if int.from_bytes(data[at:at + 8], "little") == protector["id"]:
            key = kek(auth, salt, user["id"], user["incarnation"], protector["id"])
            root = opened(path, key, wrap_ad(user, b"root", data[at:at + 8]), data[at + 8:at + 113], at + 8)
    if root is None:
        raise Fault("not-found", path)
    if hmac256(derive(root, "nexus root v2 file"), data[:-64]) != data[-64:-32]:
        f.fail(len(data) - 64, "tag")
    epoch = int.from_bytes(data[30:34], "little")
    return root, int.from_bytes(data[22:30], "little"), hashlib.sha256(data).digest(), path[:-9] + (f"epoch-{epoch}/" if epoch else "")


def read_key_head(files, user, root, generation, sum_, folder):
    """What generation each ring has at least, by file id, of those that exist; it has been compared with root.keys."""
    root_path = f"state/identity/{user['id'].decode()}/root.keys"
    path = folder + "keys.head"
    if path not in files:
        raise Fault("damaged", path, 0, "missing")
    data = files[path]
    if len(data) > 73 + 4096:
        raise Fault("damaged", path, 73 + 4096, "longer")
    plain = opened(path, derive(root, "nexus root v2 keyhead"), wrap_ad(user, b"keyhead", bytes(16)), data)
    try:
        head, sum_of, rows = key_head_of(File(path, plain))
    except Fault as fault:  # Inside a wrap there is one place.
        raise Fault("damaged", path, 57, str(fault)) from None
    compare(root_path, path, generation, head)
    if generation == head and sum_ != sum_of:
        raise Fault("rolled-back", root_path, 0, "another one of this generation")
    return path, rows


def key_head_of(f):
    f.must(f.number(1) == 1, "version")
    generation, sum_, rows, last = f.number(8), f.take(32), {}, b""
    f.must(generation >= 1, "generation")
    count = f.number(1)
    f.must(count <= 128, "rows")
    for _ in range(count):
        name, at_least, flags, keys = f.take(16), f.number(8), f.number(1), f.number(1)
        f.must(name > last and flags <= 1 and keys <= (32 if at_least and not flags else 0), "row")
        rows[name], last = (at_least, flags == 1), name
    f.must(padded(f, 256, 4096), "padding")
    return generation, sum_, rows


def compare(path, head_path, generation, head):
    """A file's generation with the one that keys.head says."""
    if generation < head:
        raise Fault("rolled-back", path, 0, f"generation {generation}, and keys.head says {head}")
    if generation > head + 1:
        raise Fault("rolled-back", head_path, 0, f"it says {head}, and {path} is of generation {generation}")


def compare_rings(prefix, rings, head_path, rows):
    """Takes out what uninstalled apps may have left."""
    for name, ring in list(rings.items()):
        path = f"{prefix}{name.hex()}.ring"
        if name not in rows:
            raise Fault("rolled-back", path, 0, "no row")
        head, destroyed = rows[name]
        if destroyed and head - 1 <= ring["generation"] <= head:
            del rings[name]
        else:
            compare(path, head_path, ring["generation"], head)
    for name, (generation, destroyed) in rows.items():
        if generation and not destroyed and name not in rings:
            raise Fault("damaged", f"{prefix}{name.hex()}.ring", 0, "missing")


def subkeys(root):
    chain = derive(root, "nexus root v1 chain")
    return {"rings": derive(root, "nexus root v1 rings"), "names": derive(root, "nexus root v1 names"),
            "chain": derive(chain, "nexus segment v1 encrypt")}


def padded(f, least, most):
    """What is left is zeros up to the smallest bucket."""
    size = least
    while size < f.at:
        size *= 2
    return len(f.data) == min(size, most) and not any(f.data[f.at:])


def read_ring(path, data, user, keys):
    """One app's keys, whosever they are."""
    if len(data) > 73 + 7040:
        raise Fault("damaged", path, 73 + 7040, "longer")
    name = bytes.fromhex(path.rsplit("/", 1)[1][:32])
    plain = opened(path, keys["rings"], wrap_ad(user, b"ring", name), data)
    try:
        return ring_of(File(path, plain), name, keys)
    except Fault as fault:  # Inside a wrap there is one place.
        raise Fault("damaged", path, 57, str(fault)) from None


def ring_of(f, name, keys):
    version = f.number(1)
    f.must(version in (2, 3), "version")
    generation = f.number(8)
    f.must(generation >= 1, "generation")
    app = f.take(f.number(1))
    f.must(id_ok(app, 64) and file_id(keys["names"], app) == name, "app id")
    ring = {"app": app, "generation": generation, "data": f.take(32), "keys": {}}
    former = f.number(1) if version == 3 else 0
    f.must(former <= 2 and (former > 0) == (version == 3), "former data keys")
    ring["former"] = [(f.take(16), f.take(32)) for _ in range(former)]
    last = f.number(8)
    f.must(last <= 4096, "last")
    dead = int.from_bytes(f.take((last + 7) // 8), "little")
    f.must(dead >> last == 0, "dead numbers")
    count = f.number(1)
    f.must(count <= 56, "entries")
    entries = []
    for _ in range(count):
        label = f.take(f.number(1))
        purpose, uses, state, version, number = struct.unpack("<BBBIQ", f.take(15))
        f.must(name_ok(label, 64) and purpose == 1 and 1 <= uses <= 3 and 1 <= state <= 3 and version >= 1, "entry")
        f.must(1 <= number <= last and (dead >> (number - 1) & 1) == (state == 3), "number")
        entries.append((label, version, uses, state, number, f.take(32)))
    f.must(len({e[4] for e in entries}) == count and len({e[0] for e in entries}) <= 32, "numbers and names")
    for a, b in zip(entries, entries[1:] + [(b"\xff", 0, 0, 0, 0, b"")]):
        older = a[0] == b[0]
        f.must(a[:2] < b[:2] and (not older or a[2] == b[2] and (a[3] == 3) == (b[3] == 3)), "order")
        f.must(a[3] == 3 or older == (a[3] == 2), "states")
        if a[3] == 1:
            ring["keys"][a[0]] = a[5]
    f.must(padded(f, 256, 7040), "padding")
    return ring


def open_record(ring, user, sequence, kind, record):
    """Name and value, or None."""
    if not record or record[0] not in (1, 2):
        return None
    long = record[0] == 2
    ad = tuple_(b"nexus record v2" if long else b"nexus record v1", user["id"], user["incarnation"], ring["app"], u64(sequence), bytes([kind]))
    plain = aead_open(derive(ring["data"], "nexus record v1 encrypt"), record[1:25], ad, record[25:])
    if plain is None or len(plain) < 64:
        return None
    head = 6 if long else 4
    n, size = struct.unpack("<HI" if long else "<HH", plain[:head])
    f = File("", plain, head + n + size)
    fits = f.at <= len(plain) and (4097 <= size <= 65536 if long else size <= 4096)
    if not fits or not padded(f, 8192 if long else 64, 65798 if long else 4356) or not name_ok(plain[head:head + n], 256):
        return None
    return plain[head:head + n], plain[head + n:f.at]


# ---- docs/spec/vault.md ----

BATCH_BYTES, BATCH_RECORDS, MAX_VAULT = 465920, 64, 8 << 20


def bucket(n):
    return 256 if n <= 256 else 512 if n <= 512 else (n + 1023) // 1024 * 1024


def read_header(data, at, magic=b"NXVS"):
    """A header, "version", or None."""
    h = data[at:at + 72]
    if len(h) < 72 or h[:4] not in (b"NXVS", b"NXVH") or struct.pack("<I", crc32c(h[:68])) != h[68:]:
        return None
    version, flags, sequence, batch, start, sealed = struct.unpack("<HHQQQI", h[4:36])
    if version != 2:
        return "version"
    body, chain = sealed - 40, h[36:68]
    ok = flags == 0 and h[:4] == magic and 1 <= batch <= sequence
    if magic == b"NXVH":
        ok = ok and body == 72 and start == 0 and chain == bytes(32)
    else:
        ok = ok and start < MAX_VAULT and 0 < body <= 66560 and bucket(body) == body
        ok = ok and (sequence > 1 or start == 0 and any(chain[:16]))
    return dict(sequence=sequence, batch=batch, start=start, sealed=sealed, chain=chain, raw=h) if ok else None


class Vault:
    """The user's vault, read once from its beginning."""

    def __init__(self, files, user, keys, folder):
        self.path = folder + "vault.kv"
        self.head_path = self.path[:-2] + "head"
        self.user, self.keys = user, keys
        self.live, self.last, self.tail = {}, 0, None
        head_file, self.data = files.get(self.head_path), files.get(self.path)
        if self.data is None and head_file is None and not user["vault"]:
            return  # None was made yet.
        if head_file is not None and len(head_file) > 184:
            raise Fault("damaged", self.head_path, 184, "longer")
        if self.data is None:
            self.damaged(0, "missing")
        if len(self.data) > MAX_VAULT:
            self.damaged(MAX_VAULT, "longer")
        if head_file is None and user["vault"]:
            self.head_damaged("missing")
        self.head = None if head_file is None else self.read_head(head_file)
        try:
            self.replay()
        except Fault as fault:
            if self.head is None and fault.kind == "damaged":
                self.head_damaged(str(fault))
            raise

    def damaged(self, offset, text):
        raise Fault("damaged", self.path, offset, text)

    def older(self, offset, text):
        raise Fault("rolled-back" if self.head else "damaged", self.path, offset, text)

    def head_damaged(self, text):
        raise Fault("damaged", self.head_path, 0, text)

    def open(self, header, sealed):
        ad = tuple_(b"nexus segment v1", self.user["id"], self.user["incarnation"], header)
        return aead_open(self.keys["chain"], sealed[:24], ad, sealed[24:])

    def read_head(self, data):
        h = read_header(data, 0, b"NXVH")
        if h == "version":
            raise Fault("unsupported", self.head_path, 4)
        body = self.open(h["raw"], data[72:]) if h and len(data) == 184 else None
        if body is None:
            self.head_damaged("not authentic")
        length = int.from_bytes(body[:8], "little")
        if not any(body[40:56]) or not 368 <= length <= MAX_VAULT:
            self.head_damaged("fields")
        return dict(h, length=length, hash=body[8:40], vault=body[40:])

    def segment(self, at):
        """Header, body and end of the authentic segment at that offset, or None."""
        h = read_header(self.data, at)
        if h == "version" and at == 0:
            raise Fault("unsupported", self.path, 4)
        if not isinstance(h, dict) or at + 72 + h["sealed"] > len(self.data):
            return None
        end = at + 72 + h["sealed"]
        body = self.open(h["raw"], self.data[at + 72:end])
        return None if body is None else (h, body, end)

    def replay(self):
        self.end, self.sequence, self.batch, self.start, self.hash = 0, 0, 0, 0, None
        self.vault = self.head and self.head["vault"]
        self.base, self.missing, self.count, self.covered = None, 0, 0, False
        while self.end < len(self.data) or self.end == 0:
            found = self.segment(self.end)
            if found is None:
                self.bad()
                break
            self.take(*found)
        if not self.covered and not self.missing:
            self.older(self.end, "it ends before the head")
        if self.missing:
            self.damaged(self.end, "a compaction with too few records")

    def take(self, h, body, end):
        at = self.end
        if at == 0:
            self.first(h, end)
        else:
            same = h["batch"] == self.batch and h["start"] == self.start
            if h["sequence"] != self.sequence + 1 or h["chain"] != self.hash:
                self.damaged(at, "chain")
            if not same and (h["batch"] != self.batch + 1 or h["start"] != at or self.missing):
                self.damaged(at, "batch")
            self.count = self.count if same else 0
        self.records(at, h, body)
        self.end, self.sequence, self.batch, self.start = end, h["sequence"], h["batch"], h["start"]
        self.hash = hashlib.sha256(self.data[at:end]).digest()
        if self.head and not self.covered:
            if end == self.head["length"] and (self.sequence, self.batch, self.hash) == (self.head["sequence"], self.head["batch"], self.head["hash"]):
                self.covered = True
            elif self.sequence >= self.head["sequence"]:
                self.damaged(at, "another segment than the head says")

    def first(self, h, end):
        if h["start"]:
            self.damaged(0, "start")
        if self.head is None:
            self.vault, self.covered = h["chain"], True
            if h["sequence"] != 1 or end != len(self.data):
                self.damaged(0, "no head")
            return
        if h["sequence"] == 1 and h["chain"] != self.vault:
            self.older(0, "another vault")
        if h["sequence"] > self.head["sequence"]:
            follows = h["sequence"] > self.head["sequence"] + 1 or h["chain"] == self.head["hash"]
            if h["batch"] <= self.head["batch"] or not follows:
                self.damaged(0, "a compaction that does not continue the head")
            self.covered = True

    def records(self, at, h, body):
        i, n = 0, 0
        while i < len(body) and body[i]:
            large = body[i] in (4, 6)
            start = i + (41 if large else 39)
            if start > len(body):
                self.damaged(at, "body")
            kind, key, sequence, supersedes, usage = struct.unpack("<B16sQQI", body[i:i + 37])
            length = int.from_bytes(body[i + 37:start], "little")
            i, n = start + length, n + 1
            if i > len(body) or (length > 7129) != large:
                self.damaged(at, "body")
            self.record(at, h, kind, key, sequence, supersedes, usage, body[start:i])
        if n == 0 or i > 7168 and n > 1 or bucket(i) != len(body) or any(body[i:]):
            self.damaged(at, "body")

    def record(self, at, h, kind, key, sequence, supersedes, usage, record):
        def must(ok, text):
            if not ok:
                self.damaged(at, text)

        put = kind in (1, 4, 5, 6)
        if put:
            must(1 <= usage <= (65792 if kind in (4, 6) else 4352) and 1 <= len(record) <= 66519, "put")
            must(kind < 5 or supersedes == 0, "stale put")
        elif kind == 2:
            must(usage == 0 and supersedes and record, "delete")
        else:
            must(kind in (3, 7) and supersedes == 0 and not record and (kind == 3 or usage and sequence), "kind")
        if kind == 3:
            must(self.end == 0 and self.base is None, "base")
            if key != self.vault[:16]:
                self.older(0, "another vault")
            must(self.head is not None or sequence == 0, "base")
            self.base, self.last_copied, self.missing = h["batch"], sequence, usage
            return
        must(self.base is not None and sequence > self.last and supersedes < sequence, "sequence")
        if h["batch"] == self.base:
            must(put and supersedes == 0 and self.missing and sequence <= self.last_copied, "copy")
            self.missing -= 1
        else:
            must(kind not in (5, 6) and sequence > self.last_copied, "record")
            self.count += 1
            must(self.count <= BATCH_RECORDS, "batch")
        if supersedes:
            must(supersedes in self.live and self.live[supersedes][0] == key, "superseded")
            del self.live[supersedes]
        if kind == 7:
            mine = [s for s, l in self.live.items() if l[0] == key]
            must(len(mine) == usage, "drop")
            for s in mine:
                del self.live[s]
        if put:
            self.live[sequence] = (key, usage, record, at, kind in (5, 6))
        self.last = sequence

    def bad(self):
        """Bytes that are no authentic segment: damage or a torn tail."""
        if self.head is None or not self.covered or self.missing or len(self.data) - self.end > BATCH_BYTES:
            self.damaged(self.end, "no authentic segment")
        for at in range(self.end + 1, len(self.data) - 71):
            found = self.data[at:at + 1] == b"N" and self.segment(at)
            if not found:
                continue
            h = found[0]
            same = h["batch"] == self.batch and h["start"] == self.start
            following = h["batch"] == self.batch + 1 and h["start"] == self.end
            if h["sequence"] <= self.sequence or not (same or following):
                self.damaged(self.end, "bad bytes before a later batch")
        self.tail = self.end


# ---- everything together ----

def read(files, name, kind, word, say=lambda *_: None, known=None):
    """What a user has: secrets {(app, name): value}, keys {(app, name): seed}, and the vault."""
    read_boot(files)
    salt = read_salt(files)
    users = read_users(files)
    read_guesses(files, users)
    user, protector, auth = login(users, name, kind, word, known)
    say("auth token", auth)
    say("key of the protector", kek(auth, salt, user["id"], user["incarnation"], protector["id"]))
    root, generation, sum_, folder = read_root(files, user, protector, auth, salt)
    say("root key", root)
    head_path, rows = read_key_head(files, user, root, generation, sum_, folder)
    keys = subkeys(root)
    for label, key in keys.items():
        say(label + " key", key)
    vault = Vault(files, user, keys, folder)
    prefix = folder + "apps/"
    rings = {}
    for path in sorted(p for p in files if p.startswith(prefix)):
        ring = read_ring(path, files[path], user, keys)
        say(f"data key of {ring['app'].decode()}", ring["data"])
        say_more(ring, say)
        rings[file_id(keys["names"], ring["app"])] = ring
    compare_rings(prefix, rings, head_path, rows)
    secrets = {}
    for sequence, (key, usage, record, at, _) in sorted(vault.live.items()):
        if key not in rings:
            raise Fault("damaged", f"{prefix}{key.hex()}.ring", 0, "missing")
        found = open_record(rings[key], user, sequence, 1, record)
        place = found and (rings[key]["app"], found[0])
        if found is None or len(found[0]) + len(found[1]) != usage or place in secrets:
            raise Fault("damaged", vault.path, at, "record")
        secrets[place] = found[1]
    seeds = {(r["app"], n): seed for r in rings.values() for n, seed in r["keys"].items()}
    return secrets, seeds, vault


def say_more(ring, say):
    """What is made of an app's keys while they are in use."""
    app = ring["app"].decode()
    for _, key in ring["former"]:
        say(f"former data key of {app}", key)
    for use in ("encrypt", "nonce"):
        say(f"record {use} key of {app}", derive(ring["data"], f"nexus record v1 {use}"))
    for name, seed in ring["keys"].items():
        expanded = hashlib.sha512(seed).digest()
        say(f"seed of {app} {name.decode()}", seed)
        say(f"scalar of {app} {name.decode()}", expanded[:32])
        say(f"prefix of {app} {name.decode()}", expanded[32:])


def load(top):
    files = {}
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as f:
                files[os.path.relpath(path, top).replace(os.sep, "/")] = f.read()
    return files


def unhex(files):
    return {path: None if text is None else bytes.fromhex(text) for path, text in files.items()}


def differs(files, credential, secrets, keys, place):
    """What a vector says that is there, and what is."""
    user = credential["user"].encode()
    got, seeds, vault = read(files, user, credential["kind"], credential["word"].encode())
    want = {(s["app"].encode(), s["name"].encode()): bytes.fromhex(s["value"]) for s in secrets if s["user"] == credential["user"]}
    names = {(k["app"].encode(), k["name"].encode()) for k in keys if k["user"] == credential["user"]}
    tail = place and place["file"] == vault.path and place["offset"]
    if got != want:
        return f"secrets are {got}"
    if set(seeds) != names:
        return f"keys are {set(seeds)}"
    return f"a torn tail at {vault.tail}" if vault.tail != (tail or None) else None


def run_vectors(path):
    with open(path, encoding="ascii") as f:
        vectors = json.load(f)
    good = {g["name"]: g for g in vectors["good"]}
    wrong = 0
    for g in vectors["good"]:
        for credential in g["credentials"]:
            text = attempt(lambda: differs(unhex(g["files"]), credential, g["secrets"], g["keys"], g.get("tail")))
            wrong += report(g["name"], text)
    for v in vectors["refused"]:
        g = good[v["of"]]
        files = {p: b for p, b in {**unhex(g["files"]), **unhex(v["changes"])}.items() if b is not None}
        if v["expect"] in ("ok", "torn"):
            text = attempt(lambda: differs(files, g["credentials"][0], v.get("secrets", []), g["keys"], v.get("place")))
        else:
            text = refusal(files, g["credentials"][0], v)
        wrong += report(v["name"], text)
    print(f"{len(vectors['good'])} good, {len(vectors['refused'])} with a fault, {wrong} differ")
    return wrong


def attempt(fn):
    try:
        return fn()
    except Fault as fault:
        return str(fault)


def refusal(files, credential, v):
    try:
        if v["expect"] == "mode":  # Not damage: the system was built for the other one.
            return None if read_boot(files) != 2 else "mode of the build"
        read(files, credential["user"].encode(), credential["kind"], credential["word"].encode())
    except Fault as fault:
        place = v.get("place")
        if fault.kind == v["expect"] and (not place or (fault.file, fault.offset) == (place["file"], place["offset"])):
            return None
        return f"{fault}, want {v['expect']} {place}"
    return "nothing is wrong with it"


def report(name, text):
    if text:
        print(f"{name}: {text}")
    return 1 if text else 0


def main(args):
    check()
    if len(args) == 2 and args[0] == "--vectors":
        return 1 if run_vectors(args[1]) else 0
    keys = args[:1] == ["--keys"]
    args = args[1:] if keys else args
    known = bytes.fromhex(args[1]) if args[:1] == ["--argon"] else None
    args = args[2:] if known else args
    if len(args) != 4 or args[2] not in KINDS:
        print(__doc__, file=sys.stderr)
        return 2
    say = (lambda label, key: print(f"{label}: {key.hex()}")) if keys else (lambda *_: None)
    try:
        secrets, seeds, vault = read(load(args[0]), args[1].encode(), args[2], args[3].encode(), say, known)
    except Fault as fault:
        print(fault, file=sys.stderr)
        return 1
    for (app, name), value in sorted(secrets.items()):
        print(f"{app.decode()} {name.decode()} {value!r}")
    for app, name in sorted(seeds):
        print(f"{app.decode()} {name.decode()} (signing key)")
    if vault.tail is not None:
        print(f"{vault.path}: a torn tail from offset {vault.tail} on")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
