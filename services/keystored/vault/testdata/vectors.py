#!/usr/bin/env python3
"""Writes vectors.txt: a second implementation of docs/spec/vault.md.

    python3 vectors.py > vectors.txt

Sealing is the stand-in that the specification describes."""
import hashlib
import struct


def crc32c(data):
    c = 0xFFFFFFFF
    for x in data:
        c ^= x
        for _ in range(8):
            c = (c >> 1) ^ (0x82F63B78 if c & 1 else 0)
    return c ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283  # RFC 3720's check value


def header(seq, batch, start, sealed, chain=bytes(32), magic=b"NXVS", version=2, flags=0, crc=None):
    h = magic + struct.pack("<HHQQQI", version, flags, seq, batch, start, sealed) + chain
    return h + struct.pack("<I", crc32c(h) if crc is None else crc)


def bucket(n):
    return 256 if n <= 256 else 512 if n <= 512 else (n + 1023) // 1024 * 1024


def record(kind, key, seq, supersedes, usage, sealed, length=None):
    length = len(sealed) if length is None else length
    return struct.pack("<B16sQQIH", kind, key, seq, supersedes, usage, length) + sealed


def large(key, seq, supersedes, usage, sealed, length=None, kind=4):
    length = len(sealed) if length is None else length
    return struct.pack("<B16sQQII", kind, key, seq, supersedes, usage, length) + sealed


def body(*records, size=None):
    b = b"".join(records)
    return b + bytes((bucket(len(b)) if size is None else size) - len(b))


def seal(h, b):
    return bytes(24) + b + hashlib.sha256(b"vector" + h + b).digest()[:16]


class File:
    """A vault file, written segment by segment."""

    def __init__(self, after=None, vault=None):
        self.data, self.start, self.offsets = b"", 0, []
        self.vault = vault or (after.vault if after else VAULT)
        self.seq, self.batch, self.chain = (after.seq, after.batch, after.chain) if after else (0, 0, self.vault)

    def segment(self, b, new=True, **fault):
        if new:
            self.batch, self.start = self.batch + 1, len(self.data)
        self.seq += 1
        fields = dict(seq=self.seq, batch=self.batch, start=self.start, sealed=len(b) + 40, chain=self.chain)
        h = header(**{**fields, **fault})
        s = h + seal(h, b)
        self.offsets.append(len(self.data))
        self.data += s
        self.chain = hashlib.sha256(s).digest()
        return self

    def head(self, **fault):
        h = header(**{**dict(seq=self.seq, batch=self.batch, start=0, sealed=112, magic=b"NXVH"), **fault})
        return h + seal(h, struct.pack("<Q", len(self.data)) + self.chain + self.vault)


def vector(name, kind, expect, data, says=None, head=None):
    print(f"\nname: {name}\nkind: {kind}\nexpect: {expect}")
    if says:
        print("says:", says)
    if head is not None:
        print("head:", head.hex())
    text = data.hex()
    for i in range(0, max(len(text), 1), 128):
        print("data:", text[i:i + 128])


A, B, NONE = bytes(range(0xA0, 0xB0)), bytes(range(0xB0, 0xC0)), bytes(16)
CHAIN = bytes(range(32))
VAULT, OTHER = bytes(range(0xD0, 0xF0)), bytes(range(0x30, 0x50))


def base(last, count, vault=VAULT):
    return record(3, vault[:16], last, 0, count, b"")


BASE = base(0, 0)
PUT1 = record(1, A, 1, 0, 9, b"sealed-one")
PUT2 = record(1, B, 2, 0, 4352, b"sealed-two")
PUT5 = record(1, A, 5, 1, 12, b"sealed-three")
DEL6 = record(2, B, 6, 2, 0, b"sealed-gone")
PUT7 = record(1, B, 7, 0, 5, b"later")


def headers():
    good = header(1, 1, 0, 296, VAULT)
    vector("header-first", "header", "ok", good, "segment 1 1 0 296 " + VAULT.hex())
    number = 0x0102030405060708
    vector("header-later", "header", "ok", header(number, number - 1, 0x123456, 7208, CHAIN),
           f"segment {number} {number - 1} {0x123456} 7208 {CHAIN.hex()}")
    vector("header-large", "header", "ok", header(1, 1, 0, 66600, VAULT), "segment 1 1 0 66600 " + VAULT.hex())
    vector("header-head", "header", "ok", header(9, 7, 0, 112, magic=b"NXVH"), "head 9 7 0 112 " + "00" * 32)
    for name, data in {
        "magic": header(1, 1, 0, 296, VAULT, magic=b"NXVT"),
        "flags": header(1, 1, 0, 296, VAULT, flags=1),
        "crc": header(1, 1, 0, 296, VAULT, crc=0),
        "sequence-zero": header(0, 0, 0, 296, VAULT),
        "batch-zero": header(1, 0, 0, 296, VAULT),
        "batch-above-sequence": header(2, 3, 368, 296, CHAIN),
        "sealed-zero": header(1, 1, 0, 0, VAULT),
        "sealed-no-bucket": header(1, 1, 0, 297, VAULT),
        "sealed-empty-body": header(1, 1, 0, 40, VAULT),
        "sealed-over": header(1, 1, 0, 67624, VAULT),
        "first-without-vault-id": header(1, 1, 0, 296),
        "first-with-half-a-vault-id": header(1, 1, 0, 296, bytes(16) + VAULT[16:]),
        "first-with-start": header(1, 1, 368, 296, VAULT),
        "start-over": header(2, 2, 8 << 20, 296, CHAIN),
        "head-with-start": header(9, 7, 1, 112, magic=b"NXVH"),
        "head-with-chain": header(9, 7, 0, 112, CHAIN, magic=b"NXVH"),
        "head-length": header(9, 7, 0, 296, magic=b"NXVH"),
        "short": good[:71],
        "empty": b"",
    }.items():
        vector("header-" + name, "header", "header", data)
    for version in 0, 1, 3:
        vector(f"header-version-{version}", "header", "version", header(1, 1, 0, 296, VAULT, version=version))


def bodies():
    def put(sealed, usage=9, seq=1, supersedes=0, length=None):
        return record(1, A, seq, supersedes, usage, sealed, length)

    vector("body-base", "body", "ok", body(BASE), f"base {VAULT[:16].hex()} 0 0")
    vector("body-two", "body", "ok", body(PUT1, DEL6),
           f"put {A.hex()} 1 0 9 {b'sealed-one'.hex()}; delete {B.hex()} 6 2 0 {b'sealed-gone'.hex()}")
    vector("body-largest", "body", "ok", put(b"Z" * (7168 - 39), 4352), f"put {A.hex()} 1 0 4352 " + "5a" * (7168 - 39))
    vector("body-fills-a-bucket", "body", "ok", body(put(b"x" * (256 - 39))), f"put {A.hex()} 1 0 9 " + "78" * 217)
    sealed = b"L" * 7130
    vector("body-large", "body", "ok", body(large(A, 2, 1, 65792, sealed)), f"put {A.hex()} 2 1 65792 {sealed.hex()}")
    vector("body-stale", "body", "ok", body(record(5, A, 2, 0, 9, b"old")), f"stale {A.hex()} 2 0 9 {b'old'.hex()}")
    vector("body-stale-large", "body", "ok", body(large(A, 2, 0, 65792, sealed, kind=6)), f"stale {A.hex()} 2 0 65792 {sealed.hex()}")
    vector("body-drop", "body", "ok", body(record(7, A, 2, 0, 1, b"")), f"drop {A.hex()} 2 1")
    for name, data in {
        "empty": b"",
        "no-record": bytes(256),
        "kind": body(record(8, A, 1, 0, 9, b"x")),
        "large-kind-too-short": body(large(A, 1, 0, 9, sealed[1:])),
        "large-as-put": body(record(1, A, 1, 0, 9, sealed)),
        "large-usage-zero": body(large(A, 1, 0, 0, sealed)),
        "large-usage-over": body(large(A, 1, 0, 65793, sealed)),
        "large-length-over": body(large(A, 1, 0, 9, b"L" * 66520)),
        "large-length-over-end": body(large(A, 1, 0, 9, sealed, length=0xFFFFFFFF)),
        "large-beside-another": body(large(A, 1, 0, 9, sealed), record(1, A, 2, 0, 9, b"x")),
        "large-after-another": body(record(1, A, 1, 0, 9, b"x"), large(A, 2, 0, 9, sealed)),
        "large-header-cut": (put(b"z" * (256 - 39 - 40)) + large(A, 2, 0, 9, sealed))[:256],
        "bucket-too-large": body(PUT1, size=512),
        "no-bucket": body(PUT1, size=257),
        "over": body(PUT1, size=8192),
        "padding": body(PUT1)[:-1] + b"\1",
        "record-after-padding": (PUT1 + b"\0" + PUT2).ljust(256, b"\0"),
        "put-usage-zero": body(put(b"x", 0)),
        "put-usage-over": body(put(b"x", 4353)),
        "put-without-record": body(put(b"")),
        "put-sequence-zero": body(put(b"x", seq=0)),
        "put-supersedes-itself": body(put(b"x", seq=3, supersedes=3)),
        "delete-usage": body(record(2, A, 3, 1, 9, b"x")),
        "delete-nothing": body(record(2, A, 3, 0, 0, b"x")),
        "delete-without-record": body(record(2, A, 3, 1, 0, b"")),
        "base-without-vault-id": body(record(3, NONE, 0, 0, 0, b"")),
        "base-supersedes": body(record(3, VAULT[:16], 0, 1, 0, b"")),
        "base-record": body(record(3, VAULT[:16], 0, 0, 0, b"x")),
        "stale-supersedes": body(record(5, A, 2, 1, 9, b"x")),
        "stale-usage-zero": body(record(5, A, 2, 0, 0, b"x")),
        "stale-large-too-short": body(large(A, 1, 0, 9, sealed[1:], kind=6)),
        "stale-as-put": body(record(5, A, 1, 0, 9, sealed)),
        "drop-of-none": body(record(7, A, 2, 0, 0, b"")),
        "drop-supersedes": body(record(7, A, 2, 1, 1, b"")),
        "drop-record": body(record(7, A, 2, 0, 1, b"x")),
        "drop-sequence-zero": body(record(7, A, 0, 0, 1, b"")),
        "length-over-end": body(put(b"x", length=300)),
        "header-cut": (put(b"y" * (256 - 39 - 20)) + PUT1)[:256],
    }.items():
        vector("body-" + name, "body", "body", data)


def heads():
    f = File().segment(body(BASE))
    good = f.head()
    vector("head-first", "head", "ok", good, f"1 1 368 {f.chain.hex()} {VAULT.hex()}")
    clear = header(1, 1, 0, 112, magic=b"NXVH")
    for name, data in {
        "of-a-segment": f.data,
        "long": good + b"\0",
        "short": good[:-1],
        "length-zero": clear + seal(clear, bytes(8) + f.chain + VAULT),
        "length-over": clear + seal(clear, struct.pack("<Q", (8 << 20) + 1) + f.chain + VAULT),
        "without-vault-id": clear + seal(clear, struct.pack("<Q", 368) + f.chain + bytes(32)),
    }.items():
        vector("head-" + name, "head", "head", data)
    vector("head-version", "head", "version", f.head(version=1))
    vector("head-bit", "head", "unauthentic", good[:100] + bytes([good[100] ^ 1]) + good[101:])


def golden():
    """Three batches after the base; the head describes the first of them."""
    f = File().segment(body(BASE)).segment(body(PUT1, PUT2))
    head = f.head()
    return f.segment(body(PUT5)).segment(body(DEL6)), head


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def vaults():
    new = File().segment(body(BASE))
    empty = "live=0 secrets=0 bytes=0 last=0 end=1/1/368 since=0"
    vector("vault-new", "vault", "ok", new.data, empty, new.head())
    vector("vault-new-without-head", "vault", "ok", new.data, empty)
    f, head = golden()
    o, end = f.offsets, len(f.data)
    at_head = "live=2 secrets=2 bytes=4361 last=2 end=2/2/736 since=0"
    whole = "live=1 secrets=1 bytes=12 last=6 end=4/4/1472 since=2"
    vector("vault-golden", "vault", "ok", f.data, whole, head)
    vector("vault-golden-head-at-end", "vault", "ok", f.data, whole[:-1] + "0", f.head())
    vector("vault-torn-header", "vault", f"torn@{o[3]}", f.data[:o[3] + 71],
           "live=2 secrets=2 bytes=4364 last=5 end=3/3/1104 since=1", head)
    vector("vault-torn-body", "vault", f"torn@{o[2]}", f.data[:o[3] - 1], at_head, head)
    vector("vault-torn-zeros", "vault", f"torn@{end}", f.data + bytes(100), whole, head)
    vector("vault-torn-head-as-segment", "vault", f"torn@{end}", f.data + head, whole, head)
    f.segment(body(PUT7))
    for name, data, at in [
        ("before-later-batch", flipped(f.data, o[3] + 80), o[3]),
        ("before-head", flipped(f.data, o[1] + 80), o[1]),
        ("cut-in-head-segment", f.data[:o[2] - 1], o[1]),
        ("empty", b"", 0),
    ]:
        vector("vault-" + name, "vault", f"damaged@{at}", data, head=head)
    vector("vault-cut-before-head", "vault", f"older@{o[1]}", f.data[:o[1]], head=head)
    vector("vault-older-by-one-batch", "vault", f"older@{o[3]}", f.data[:o[3]], head=golden()[0].head())
    vector("vault-older-with-bad-bytes", "vault", f"damaged@{o[3]}", f.data[:o[3]] + bytes(100), head=golden()[0].head())
    vector("vault-version", "vault", "version", header(1, 1, 0, 296, VAULT, version=1) + f.data[72:], head=head)
    other = File().segment(body(BASE)).segment(body(PUT1, record(1, B, 2, 0, 4352, b"another-x!")))
    vector("vault-other-history", "vault", "damaged@368", other.data, head=head)


def large_ones():
    """A large put in the middle of a batch, and torn at its end."""
    f = File().segment(body(BASE))
    head = f.head()
    f.segment(body(PUT1)).segment(body(large(B, 2, 0, 4353, b"L" * 8233)), new=False).segment(body(PUT5), new=False)
    o, end = f.offsets, len(f.data)
    vector("vault-large", "vault", "ok", f.data, f"live=2 secrets=2 bytes=4365 last=5 end=4/2/{end} since=3", head)
    vector("vault-large-torn", "vault", f"torn@{o[2]}", f.data[:o[3] - 1],
           "live=1 secrets=1 bytes=9 last=1 end=2/2/736 since=1", head)
    f.segment(body(PUT7))
    vector("vault-large-bad-before-later-batch", "vault", f"damaged@{o[2]}", flipped(f.data, o[2] + 8000), head=head)


def one_batch():
    """Batches of three segments, of which the disk lost one."""
    f = File().segment(body(BASE))
    head = f.head()
    f.segment(body(PUT1)).segment(body(PUT2), new=False).segment(body(PUT5), new=False)
    o = f.offsets

    def lost(data, i):
        return data[:o[i]] + bytes(o[i + 1] - o[i]) + data[o[i + 1]:]

    vector("vault-lost-first-of-batch", "vault", f"torn@{o[1]}", lost(f.data, 1),
           "live=0 secrets=0 bytes=0 last=0 end=1/1/368 since=0", head)
    vector("vault-lost-second-of-batch", "vault", f"torn@{o[2]}", lost(f.data, 2),
           "live=1 secrets=1 bytes=9 last=1 end=2/2/736 since=1", head)
    later = File(f)
    later.data, later.offsets = f.data, list(o)
    later.segment(body(DEL6))
    vector("vault-lost-before-later-batch", "vault", f"damaged@{o[2]}", lost(later.data, 2), head=head)
    for name, fault in {"start": dict(start=736), "batch": dict(batch=4, start=736), "old-batch": dict(batch=1, start=0)}.items():
        g = File().segment(body(BASE)).segment(body(PUT1)).segment(body(PUT2), new=False).segment(body(PUT5), new=False, **fault)
        vector("vault-lost-before-other-" + name, "vault", f"damaged@{o[2]}", lost(g.data, 2), head=head)


def without_head():
    def first(b, **fault):
        return File().segment(b, **fault).data

    for name, data in {
        "golden": golden()[0].data,
        "cut": first(body(BASE))[:-1],
        "tail": first(body(BASE)) + b"\0",
        "later-sequence": first(body(BASE), seq=2, batch=2, chain=CHAIN),
        "compacted": first(body(base(3, 0))),
        "with-record": first(body(base(3, 1), PUT1)),
        "missing-record": first(body(base(0, 1))),
        "base-of-another": first(body(base(0, 0, OTHER))),
    }.items():
        at = 368 if name == "missing-record" else 0
        vector("vault-without-head-" + name, "vault", f"damaged@{at}", data)


def rules():
    def after(b, **fault):
        f, _ = golden()
        return f.segment(b, **fault).data

    head = golden()[1]
    for name, data in {
        "chain": after(body(PUT7), chain=CHAIN),
        "sequence": after(body(PUT7), seq=7),
        "batch-skipped": after(body(PUT7), seq=6, batch=6),
        "batch-start": after(body(PUT7), start=0),
        "same-batch-other-start": after(body(PUT7), new=False, start=0),
        "record-sequence-repeats": after(body(record(1, B, 6, 0, 5, b"later"))),
        "supersedes-dead": after(body(record(1, A, 7, 1, 5, b"later"))),
        "supersedes-other-app": after(body(record(1, B, 7, 5, 5, b"later"))),
        "second-base": after(body(BASE)),
        "body": after(body(PUT7, size=512)),
        "stale-without-salvage": after(body(record(5, B, 7, 0, 5, b"later"))),
        "drop-of-too-many": after(body(record(7, A, 7, 0, 2, b""))),
        "drop-of-nobody": after(body(record(7, B, 7, 0, 1, b""))),
        "drop-sequence-repeats": after(body(record(7, A, 6, 0, 1, b""))),
    }.items():
        vector("vault-rule-" + name, "vault", "damaged@1472", data, head=head)
    f = File().segment(body(PUT7))
    vector("vault-no-base", "vault", "damaged@0", f.data, head=f.head())
    f = File().segment(body(BASE, PUT1))
    vector("vault-base-with-uncounted", "vault", "damaged@0", f.data, head=f.head())


def compactions():
    old, old_head = golden()

    def compact(counts, *copies, **fault):
        return File(old).segment(body(base(*counts), *copies), **fault)

    copy4 = record(1, A, 4, 0, 12, b"sealed-four")
    copy5 = record(1, A, 5, 0, 12, b"sealed-three")
    says = "live=1 secrets=1 bytes=12 last=6 end=5/5/368 since="
    f = compact((6, 1), copy5)
    vector("vault-compacted", "vault", "ok", f.data, says + "0", f.head())
    vector("vault-compacted-old-head", "vault", "ok", f.data, says + "64", old_head)
    vector("vault-compacted-head-just-before", "vault", "ok", f.data, says + "64", old.head())
    first = f.head()
    vector("vault-from-before-a-compaction", "vault", f"older@{len(old.data)}", old.data, head=first)
    vector("vault-from-before-a-compaction-cut", "vault", f"damaged@{old.offsets[3]}", old.data[:-1], head=first)
    f.segment(body(PUT7))
    vector("vault-older-than-the-newest-batch", "vault", "older@368", f.data[:368], head=f.head())
    vector("vault-compacted-then-more", "vault", "ok", f.data, "live=2 secrets=2 bytes=17 last=7 end=6/6/736 since=1", first)
    other, _ = golden()
    other.chain = CHAIN
    vector("vault-compacted-other-chain", "vault", "damaged@0", f.data, head=other.head())
    vector("vault-compacted-old-batch", "vault", "damaged@0", compact((6, 1), copy5, batch=4).data, head=old.head())
    vector("vault-compacted-start", "vault", "damaged@0", compact((6, 1), copy5, start=368).data, head=old_head)
    f = compact((6, 2), copy5)
    vector("vault-compacted-too-few", "vault", "damaged@368", f.data, head=f.head())
    f.segment(body(PUT7))
    vector("vault-compacted-too-few-then-more", "vault", "damaged@368", f.data, head=f.head())
    vector("vault-compacted-too-few-then-bad", "vault", "damaged@368", f.data[:-1], head=old_head)
    for name, counts, copies in [
        ("too-many", (6, 1), (copy4, copy5)),
        ("supersedes-dead", (6, 1), (record(1, A, 5, 1, 12, b"sealed-three"),)),
        ("supersedes-copy", (6, 2), (copy4, record(1, A, 5, 4, 12, b"sealed-three"))),
        ("deletes-copy", (6, 2), (copy4, record(2, A, 5, 4, 0, b"sealed-three"))),
        ("descending", (6, 2), (copy5, copy4)),
        ("sequence-above-base", (6, 1), (record(1, A, 7, 0, 12, b"sealed-three"),)),
    ]:
        f = compact(counts, *copies)
        vector("vault-compacted-" + name, "vault", "damaged@0", f.data, head=f.head())
    f = compact((6, 1), copy5).segment(body(record(1, B, 6, 0, 5, b"later")))
    vector("vault-compacted-then-old-sequence", "vault", "damaged@368", f.data, head=old_head)


def drops():
    """An app that was uninstalled."""
    f = File().segment(body(BASE)).segment(body(PUT1, PUT2))
    head = f.head()
    f.segment(body(record(7, A, 4, 0, 1, b""), record(1, A, 5, 0, 12, b"anew")))
    vector("vault-drop", "vault", "ok", f.data, f"live=2 secrets=2 bytes=4364 last=5 end=3/3/{len(f.data)} since=2", head)
    f = File().segment(body(BASE)).segment(body(PUT1, PUT2)).segment(body(record(7, A, 4, 0, 1, b""), record(1, A, 5, 1, 12, b"dead")))
    vector("vault-drop-then-superseded", "vault", "damaged@736", f.data, head=head)
    f = File().segment(body(base(2, 1), record(7, A, 2, 0, 1, b"")))
    vector("vault-drop-in-base-batch", "vault", "damaged@0", f.data, head=f.head())


def salvaged():
    """What a salvage writes: a new vault whose base batch has stale records."""
    f = File(vault=OTHER).segment(body(base(6, 2, OTHER), record(1, B, 2, 0, 4352, b"sealed-two"), record(5, A, 5, 0, 12, b"sealed-three")))
    vector("vault-salvaged", "vault", "ok", f.data, "live=2 secrets=2 bytes=4364 last=6 end=1/1/368 since=0 stale=5", f.head())
    f.segment(body(record(1, A, 7, 5, 9, b"anew")))
    vector("vault-salvaged-then-put", "vault", "ok", f.data, "live=2 secrets=2 bytes=4361 last=7 end=2/2/736 since=0", f.head())


def other_vaults():
    """Parts of another vault of the same user, each right in its own."""
    def story(vault):
        return File(vault=vault).segment(body(base(0, 0, vault))).segment(body(PUT1, PUT2))

    own, other = story(VAULT), story(OTHER)
    vector("vault-of-another", "vault", "older@0", other.data, head=own.head())
    vector("vault-first-segment-of-another", "vault", "older@0", other.data[:368] + own.data[368:], head=own.head())
    vector("vault-later-segment-of-another", "vault", "damaged@368", own.data[:368] + other.data[368:], head=own.head())
    mixed = File(vault=VAULT).segment(body(base(0, 0, OTHER)))
    vector("vault-base-of-another", "vault", "older@0", mixed.data, head=mixed.head())
    other.segment(body(PUT5))  # So that the chain alone does not tell.
    new = File(other).segment(body(base(5, 2, OTHER), PUT2, record(1, A, 5, 0, 12, b"sealed-three")))
    vector("vault-compaction-of-another", "vault", "older@0", new.data, head=own.head())


print("""# Vectors of docs/spec/vault.md, written by vectors.py. A block is: name, kind,
# expect (ok, torn@offset, damaged@offset, older@offset, or a class of error), says (what was
# read), head (of a vault), data. Hexadecimal.""")
for write in headers, bodies, heads, vaults, drops, salvaged, other_vaults, large_ones, one_batch, without_head, rules, compactions:
    write()
