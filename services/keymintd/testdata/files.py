#!/usr/bin/env python3
"""Writes files.txt: vectors of the key files and blobs of docs/spec/keymint.md.

    python3 files.py > files.txt

It knows the specification and none of the code under test."""
import hashlib
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tests/vectors/reader"))
from primitives import check, derive, file_id, hmac256, kek, tuple_, u64, wrap  # noqa: E402


def made(word, n=32):
    """Bytes that look random and are the same each time."""
    return hashlib.sha256(b"files.py " + word.encode()).digest()[:n]


INC, SALT, ROOT, CHANCE = made("incarnation", 16), made("salt"), made("root"), made("chance", 24)
ALICE, APP = b"alice", b"demo.app"
RINGS, NAMES = derive(ROOT, "nexus root v1 rings"), derive(ROOT, "nexus root v1 names")
DATA, SEED, OTHER_SEED, PUBLIC = made("data"), made("seed"), made("other seed"), made("public")
AUTH = {n: made(f"auth {n}") for n in (1, 7, 8, 9, 2 ** 64 - 1)}


def vector(name, kind, expect, data, chance=None, **fields):
    print(f"\nname: {name}\nkind: {kind}\nexpect: {expect}")
    for key, value in fields.items():
        print(f"{key}: {value.hex() if isinstance(value, bytes) else value}")
    if chance:
        print("chance:", chance.hex())
    text = data.hex()
    for i in range(0, max(len(text), 1), 144):
        print(f"data: {text[i:i + 144]}".rstrip() if text else "data:")


def wrap_ad(purpose, key_id, *more, user=ALICE, inc=INC, label=b"nexus wrap v1"):
    return tuple_(label, purpose, user, inc, key_id, *more)


def flip(b, at, bit=1):
    at %= len(b)
    return b[:at] + bytes([b[at] ^ bit]) + b[at + 1:]


# ---- root.keys ----

def entry(protector, root=ROOT, id=None, **ad):
    """A protector's row; id is the one it claims."""
    key_id = u64(protector)
    key = kek(AUTH[protector], SALT, ALICE, INC, protector)
    return u64(protector if id is None else id) + wrap(key, CHANCE, wrap_ad(b"root", key_id, **ad), root)


def summed(b):
    return b + hashlib.sha256(b).digest()


def root_file(*entries, count=None, magic=b"NXRK", version=2, inc=INC, generation=1, epoch=0, root=ROOT, extra=b""):
    b = magic + struct.pack("<H16sQIB", version, inc, generation, epoch, len(entries) if count is None else count)
    b += b"".join(entries) + extra
    return summed(b + hmac256(derive(root, "nexus root v2 file"), b))


def resummed(b, at):
    return summed(flip(b, at)[:-32])


def roots():
    def root(name, expect, data, protector=7, auth=None, salt=SALT, user="alice", chance=None, opened=ROOT):
        fields = dict(salt=salt, user=user, incarnation=INC, protector=protector, auth=AUTH[protector] if auth is None else auth)
        if expect == "ok":
            fields["root"] = opened
        vector("root-" + name, "root", expect, data, chance, **fields)

    one, two, four = entry(7), entry(8), entry(2 ** 64 - 1)
    good = root_file(one)
    pair = root_file(one, two)
    root("one", "ok", good, chance=CHANCE)
    root("generation", "ok", root_file(one, generation=2 ** 64 - 1, epoch=2 ** 32 - 1), chance=CHANCE)
    root("two-first", "ok", pair)
    root("two-second", "ok", pair, 8)
    root("four", "ok", root_file(entry(1), one, two, four), 2 ** 64 - 1)
    for name, expect, data in [
        ("empty", 0, b""),
        ("short", 211, good[:-1]),
        ("longer", 181, good + b"\0"),
        ("magic", 0, root_file(one, magic=b"NXRL")),
        ("sum", 180, flip(good, -1)),
        ("bit", 180, flip(good, 40)),
        ("generation-0", 22, root_file(one, generation=0)),
        ("count-0", 34, root_file(one, count=0)),
        ("count-2-of-1", 34, root_file(one, count=2)),
        ("count-1-of-2", 34, root_file(one, two, count=1)),
        ("count-5", 34, root_file(*[entry(7, id=n) for n in range(1, 6)])),
        ("padded", 34, root_file(one, extra=bytes(4))),
        ("descending", 148, root_file(two, one)),
        ("twice", 148, root_file(one, one)),
        ("id-0", 35, root_file(entry(7, id=0))),
        ("other-incarnation", 6, root_file(one, inc=made("other", 16))),
        ("wrap-version", 43, root_file(flip(one, 8, 3))),
        ("wrap-sealed", 100, root_file(flip(one, 8 + 57))),
        ("wrap-tag", 100, root_file(flip(one, -1))),
        ("wrap-other-incarnation", 100, root_file(entry(7, inc=made("other", 16)))),
        ("wrap-other-label", 100, root_file(entry(7, label=b"nexus wrap v2"))),
        ("tag", 148, resummed(good, 148)),
        ("tag-other-generation", 148, resummed(good, 23)),
        ("tag-other-epoch", 148, resummed(good, 30)),
        ("tag-of-another-root", 148, root_file(one, root=made("other root"))),
        ("tag-after-a-wrap-was-removed", 148, summed(root_file(one)[:148] + pair[261:-32])),
        ("tag-after-a-wrap-was-added", 261, summed(pair[:261] + good[148:-32])),
        ("tag-other-protectors-wrap", 261, resummed(pair, 148 + 8 + 60)),
    ]:
        root(name, f"damaged@{expect}", data)
    for version in 0, 1, 3:
        root(f"version-{version}", "version", root_file(one, version=version))
    root("no-protector", "no-protector", good, 9)
    for name, fields in {
        "other-auth": dict(auth=AUTH[8]), "other-salt": dict(salt=made("other salt")), "other-user": dict(user="bob"),
    }.items():
        root(name, "wrong-key", good, **fields)
    root("swapped-wraps", "wrong-key", root_file(u64(7) + two[8:], u64(8) + one[8:]))
    root("wrap-nonce", "wrong-key", root_file(flip(one, 8 + 1)))
    root("wrap-commitment", "wrong-key", root_file(flip(one, 8 + 25)))


# ---- rings ----

# Former data keys, each after the file id that the ring had with it.
FORMER = tuple(file_id(made(f"former names {n}"), APP) + made(f"former data {n}") for n in (1, 2))

def signer(name=b"k", number=1, version=1, state=1, purpose=1, uses=3, secret=SEED, length=None):
    return struct.pack("<B", len(name) if length is None else length) + name + struct.pack("<BBBIQ", purpose, uses, state, version, number) + secret


def double(n, least, most):
    size = least
    while size < n:
        size *= 2
    return min(size, most)


def ring(*keys, app=APP, version=None, generation=1, last=None, dead=None, count=None, size=None, length=None, former=(), formers=None):
    version = version or (3 if former else 2)
    last = len(keys) if last is None else last
    dead = bytes((last + 7) // 8) if dead is None else dead
    b = struct.pack("<BQB", version, generation, len(app) if length is None else length) + app + DATA
    if version == 3:
        b += bytes([len(former) if formers is None else formers]) + b"".join(former)
    b += u64(last) + dead
    b += bytes([len(keys) if count is None else count]) + b"".join(keys)
    return b.ljust(double(len(b), 256, 7040) if size is None else size, b"\0")


def ring_file(plain, app=APP, under=RINGS, **ad):
    return wrap(under, CHANCE, wrap_ad(b"ring", file_id(NAMES, app), **ad), plain)


def rings():
    def vec(name, expect, data, says=None, app=APP, rings=RINGS, names=NAMES, user="alice", chance=None, former=()):
        fields = dict(user=user, incarnation=INC, app=app.decode(), rings=rings, names=names)
        if says is not None:
            fields.update(says=says, file=file_id(NAMES, app), key=DATA)
        if former:
            fields.update(former=b"".join(former))
        vector("ring-" + name, "ring", expect, data, chance, **fields)

    def good(name, plain, says, app=APP, former=()):
        vec(name, "ok", ring_file(plain, app), says, app, chance=CHANCE, former=former)

    def said(name="k", purpose=1, uses=3, state=1, version=1, number=1, secret=SEED):
        return f" {name}:{purpose}:{uses}:{state}:{version}:{number}:{secret.hex()}"

    long = b"n" * 64
    good("empty", ring(), "1 0 ")
    good("shortest-app", ring(app=b"a"), "1 0 ", b"a")
    good("longest-app", ring(app=b"a" * 64), "1 0 ", b"a" * 64)
    good("one", ring(signer()), "1 1 00" + said())
    good("sign-only", ring(signer(uses=1), generation=7), "7 1 00" + said(uses=1))
    good("gap", ring(signer(b"a", 3), signer(b"b", 1), last=9, dead=b"\2\1"), "1 9 0201" + said("a", number=3) + said("b"))
    good("rotated", ring(signer(b"k", 1, 1, 2, secret=PUBLIC), signer(b"k", 2, 2)), "1 2 00" + said(state=2, secret=PUBLIC) + said(version=2, number=2))
    good("revoked", ring(signer(b"k", 1, 1, 3, secret=PUBLIC), signer(b"k", 2, 4, 3, secret=PUBLIC), dead=b"\3"),
         "1 2 03" + said(state=3, secret=PUBLIC) + said(state=3, version=4, number=2, secret=PUBLIC))
    names = [b"%064d" % n for n in range(32)]
    full = [signer(n, i + 1) for i, n in enumerate(names)] + [signer(names[-1], 33 + i, 2 + i) for i in range(24)]
    full[31:55] = [signer(names[-1], 32 + i, 1 + i, 2, secret=PUBLIC) for i in range(24)]
    says = "".join(said(n.decode(), number=i + 1) for i, n in enumerate(names[:31]))
    says += "".join(said(names[-1].decode(), state=2, version=1 + i, number=32 + i, secret=PUBLIC) for i in range(24))
    good("full", ring(*full, last=4096, app=b"a" * 64), "1 4096 " + "00" * 512 + says + said(names[-1].decode(), version=25, number=56), b"a" * 64)

    heir, heirs = FORMER[:1], FORMER
    good("former", ring(signer(), former=heir), "1 1 00" + said(), former=heir)
    good("two-former", ring(former=heirs, generation=5), "5 0 ", former=heirs)
    good("full-with-two-former", ring(*full, last=4096, app=b"a" * 64, former=heirs),
         "1 4096 " + "00" * 512 + says + said(names[-1].decode(), version=25, number=56), b"a" * 64, heirs)

    fine = ring_file(ring(signer()))
    vec("nothing", "damaged@0", b"")
    vec("short", "damaged@0", fine[:72])
    vec("version", "damaged@0", flip(fine, 0, 3))
    for name, at in dict(nonce=1, commitment=25).items():
        vec(name, "damaged@25", flip(fine, at))
    for name, data in {
        "sealed": flip(fine, 57), "tag": flip(fine, -1), "cut": fine[:-1], "longer": fine + b"\0",
        "wrapped-for-an-app": wrap(RINGS, CHANCE, wrap_ad(b"ring", file_id(NAMES, APP), APP), ring(signer())),
        "other-incarnation": ring_file(ring(), inc=made("other", 16)),
        "other-file": wrap(RINGS, CHANCE, wrap_ad(b"ring", file_id(NAMES, b"other.app")), ring()),
        "other-purpose": wrap(RINGS, CHANCE, wrap_ad(b"blob", file_id(NAMES, APP)), ring()),
        "other-label": ring_file(ring(), label=b"nexus wrap v2"),
        "in-version-1": ring_file(ring(version=1)),
        "in-version-3-without-former": ring_file(ring(version=3)),
        "in-version-2-with-former": ring_file(flip(ring(former=heir), 0)),
        "in-version-4": ring_file(ring(version=4)),
        "in-three-former": ring_file(ring(former=heirs + heir)),
        "in-former-over": ring_file(ring(signer(), former=heir, formers=2)),
        "in-former-255": ring_file(ring(former=heir, formers=255)),
        "in-former-cut": ring_file(ring(former=heirs, app=b"a" * 64)[:150]),
        "in-generation-0": ring_file(ring(generation=0)),
        "in-empty": ring_file(b""),
        "in-cut": ring_file(ring(signer())[:60]),
        "in-another-app": ring_file(ring(app=b"other.app")),
        "in-no-app": ring_file(ring(app=b"")),
        "in-app-over-end": ring_file(ring(length=255)),
        "in-app-not-canonical": ring_file(ring(app=b"demo app")),
        "in-bucket-odd": ring_file(ring(size=257)),
        "in-bucket-too-large": ring_file(ring(size=512)),
        "in-over-largest-bucket": ring_file(ring(*full, last=4096, size=7041)),
        "in-padding-first": ring_file(flip(ring(), 59)),
        "in-padding-last": ring_file(flip(ring(), -1)),
        "in-count-under": ring_file(ring(signer(), count=0)),
        "in-count-over": ring_file(ring(signer(), count=2)),
        "in-count-255": ring_file(ring(signer(), count=255)),
        "in-33-names": ring_file(ring(*[signer(b"%02d" % n, n + 1) for n in range(33)])),
        "in-57-entries": ring_file(ring(*[signer(b"k", n + 1, n + 1, 1 if n == 56 else 2, secret=PUBLIC) for n in range(57)])),
        "in-unsorted": ring_file(ring(signer(b"b", 1), signer(b"a", 2))),
        "in-version-twice": ring_file(ring(signer(b"k", 1, 1, 2), signer(b"k", 2, 1))),
        "in-versions-descend": ring_file(ring(signer(b"k", 1, 2, 2), signer(b"k", 2, 1))),
        "in-key-version-0": ring_file(ring(signer(version=0))),
        "in-number-0": ring_file(ring(signer(number=0), last=1)),
        "in-number-over": ring_file(ring(signer(number=2), last=1)),
        "in-number-twice": ring_file(ring(signer(b"a", 1), signer(b"b", 1), last=2)),
        "in-last-over": ring_file(ring(signer(), last=4097)),
        "in-dead-active": ring_file(ring(signer(), dead=b"\1")),
        "in-dead-beyond-last": ring_file(ring(signer(), dead=b"\2")),
        "in-revoked-not-dead": ring_file(ring(signer(state=3))),
        "in-name-empty": ring_file(ring(signer(b""))),
        "in-name-65": ring_file(ring(signer(b"n" * 65))),
        "in-name-over-end": ring_file(ring(signer(b"k", length=255))),
        "in-name-newline": ring_file(ring(signer(b"a\n"))),
        "in-name-utf8": ring_file(ring(signer("ä".encode()))),
        "in-purpose-0": ring_file(ring(signer(purpose=0))),
        "in-purpose-2": ring_file(ring(signer(purpose=2))),
        "in-uses-0": ring_file(ring(signer(uses=0))),
        "in-uses-4": ring_file(ring(signer(uses=4))),
        "in-uses-differ": ring_file(ring(signer(b"k", 1, 1, 2, uses=1), signer(b"k", 2, 2))),
        "in-state-0": ring_file(ring(signer(state=0))),
        "in-state-4": ring_file(ring(signer(state=4))),
        "in-two-active": ring_file(ring(signer(b"k", 1, 1), signer(b"k", 2, 2))),
        "in-rotated-newest": ring_file(ring(signer(state=2))),
        "in-revoked-older": ring_file(ring(signer(b"k", 1, 1, 3), signer(b"k", 2, 2), dead=b"\1")),
        "in-revoked-newest": ring_file(ring(signer(b"k", 1, 1, 2), signer(b"k", 2, 2, 3), dead=b"\2")),
    }.items():
        vec(name, "damaged@57", data)
    vec("other-user", "damaged@57", fine, user="bob")
    vec("other-app", "damaged@57", fine, app=b"other.app")
    vec("other-name-key", "damaged@57", fine, names=made("other names"))
    vec("other-ring-key", "damaged@25", fine, rings=made("other rings"))
    vec("the-key-of-names", "damaged@25", fine, rings=NAMES)


# ---- blobs ----

def blob(version=2, algorithm=1, purpose=1, uses=3, key_version=1, number=1, seed=SEED, under=None, **ad):
    header = struct.pack("<BBBBIQ", version, algorithm, purpose, uses, key_version, number)
    more = ad.pop("more", (ad.pop("app", APP), header))
    ad.setdefault("label", b"nexus wrap v1")
    return header + wrap(under or derive(DATA, "nexus data v1 blobs"), CHANCE,
                         wrap_ad(ad.pop("kind", b"blob"), ad.pop("id", file_id(NAMES, APP)), *more, **ad), seed)


def blobs():
    def vec(name, expect, data, app=APP, user="alice", key=DATA, says=None, chance=None):
        fields = dict(user=user, incarnation=INC, app=app.decode(), key=key, names=NAMES)
        if says:
            fields.update(says=says, seed=SEED)
        vector("blob-" + name, "blob", expect, data, chance, **fields)

    good = blob()
    vec("ok", "ok", good, says="1 3 1 1", chance=CHANCE)
    vec("later", "ok", blob(uses=1, key_version=2 ** 32 - 1, number=4096), says="1 1 4294967295 4096", chance=CHANCE)
    for name, data in {
        "nothing": b"", "short": good[:-1], "longer": good + b"\0", "version": blob(version=1),
        "wrap-version": flip(good, 16, 3), "without-header": good[16:],
    }.items():
        vec(name, "layout", data)
    vec("nonce", "wrong-key", flip(good, 17))
    vec("commitment", "wrong-key", flip(good, 41))
    vec("other-data-key", "wrong-key", good, key=made("other data"))
    vec("under-the-data-key", "wrong-key", blob(under=DATA))
    for name, data in {
        "sealed": flip(good, 73), "tag": flip(good, -1),
        "header-purpose": flip(good, 2), "header-uses": flip(good, 3), "header-version": flip(good, 4), "header-number": flip(good, 8),
        "header-algorithm": flip(good, 1), "algorithm": blob(algorithm=2), "bound-to-no-header": blob(more=(APP,)),
        "of-another-app": blob(app=b"other.app"), "of-another-ring": blob(id=file_id(NAMES, b"other.app")),
        "of-another-incarnation": blob(inc=made("other", 16)), "purpose": blob(kind=b"ring"), "label": blob(label=b"nexus wrap v2"),
    }.items():
        vec(name, "not-authentic", data)
    vec("other-app", "not-authentic", good, app=b"other.app")
    vec("other-user", "not-authentic", good, user="bob")


# ---- what former data keys open ----

def former():
    def vec(name, kind, expect, data, **more):
        vector("former-" + name, kind, expect, data, None,
               **dict(dict(user="alice", incarnation=INC, app=APP.decode(), key=made("other data"), names=NAMES, former=b"".join(FORMER)), **more))

    for n, f in enumerate(FORMER):
        under = f[16:]
        vec(f"blob-{n + 1}", "blob", "ok", blob(under=derive(under, "nexus data v1 blobs"), id=f[:16]), says="1 3 1 1", seed=SEED)
        vec(f"data-{n + 1}", "appdata", "ok", app_data(b"a value", under=derive(under, "nexus data v1 appdata"), id=f[:16]),
            associated=b"about", plain=b"a value")
        vec(f"blob-{n + 1}-of-another-ring", "blob", "not-authentic", blob(under=derive(under, "nexus data v1 blobs"), id=FORMER[1 - n][:16]))
        vec(f"data-{n + 1}-of-the-present-ring", "appdata", "not-authentic",
            app_data(b"a value", under=derive(under, "nexus data v1 appdata")), associated=b"about")
    vec("blob-under-none", "blob", "wrong-key", blob(id=FORMER[0][:16]))
    vec("data-under-none", "appdata", "wrong-key", app_data(b"a value", id=FORMER[1][:16]), associated=b"about")
    vec("blob-tag", "blob", "not-authentic", flip(blob(under=derive(FORMER[0][16:], "nexus data v1 blobs"), id=FORMER[0][:16]), -1))


# ---- data of apps ----

def app_data(data, associated=b"about", size=None, length=None, pad=b"\0", version=1, under=None, **ad):
    least = 2 + len(data)
    bucket = size or next((n for n in (64, 128, 256, 512, 1024, 2048) if n >= least), 4098)
    plain = struct.pack("<H", len(data) if length is None else length) + data
    plain += pad * (bucket - len(plain))
    more = (ad.pop("app", APP), associated)
    return bytes([version]) + wrap(under or derive(DATA, "nexus data v1 appdata"), CHANCE,
                                   wrap_ad(ad.pop("kind", b"appdata"), ad.pop("id", file_id(NAMES, APP)), *more, **ad), plain)


def all_app_data():
    def vec(name, expect, data, app=APP, user="alice", key=DATA, associated=b"about", plain=None):
        fields = dict(user=user, incarnation=INC, app=app.decode(), key=key, names=NAMES, associated=associated)
        if plain is not None:
            fields.update(plain=plain)
        vector("appdata-" + name, "appdata", expect, data, CHANCE if plain is not None else None, **fields)

    good = app_data(b"a value")
    vec("ok", "ok", good, plain=b"a value")
    vec("empty", "ok", app_data(b"", b""), associated=b"", plain=b"")
    for n in (62, 63, 1022, 1023, 2046, 2047, 4096):
        vec(f"of-{n}", "ok", app_data(b"x" * n), plain=b"x" * n)
    for name, data in {
        "nothing": b"", "version": app_data(b"a value", version=2), "short": good[:-1], "longer": good + b"\0",
        "no-bucket": app_data(b"a value", size=65), "larger-than-any": app_data(b"", size=4099),
    }.items():
        vec(name, "layout", data)
    vec("commitment", "wrong-key", flip(good, 26))
    vec("other-data-key", "wrong-key", good, key=made("other data"))
    vec("under-the-blob-key", "wrong-key", app_data(b"a value", under=derive(DATA, "nexus data v1 blobs")))
    for name, data in {
        "sealed": flip(good, 58), "tag": flip(good, -1), "larger-bucket": app_data(b"a value", size=128),
        "length-beyond": app_data(b"a value", length=63), "padding": app_data(b"a value", pad=b"\1"),
        "shorter-than-it-is": app_data(b"a value", length=6), "of-another-app": app_data(b"a value", app=b"other.app"),
        "of-another-ring": app_data(b"a value", id=file_id(NAMES, b"other.app")), "purpose": app_data(b"a value", kind=b"blob"),
        "of-another-incarnation": app_data(b"a value", inc=made("other", 16)), "label": app_data(b"a value", label=b"nexus wrap v2"),
    }.items():
        vec(name, "not-authentic", data)
    vec("other-app", "not-authentic", good, app=b"other.app")
    vec("other-user", "not-authentic", good, user="bob")
    vec("other-associated", "not-authentic", good, associated=b"abou")
    vec("no-associated", "not-authentic", good, associated=b"")


# ---- keys.head ----

def row(n, generation=1, flags=0, names=0):
    return made(f"ring {n}", 0) + bytes([n]) + made("id", 15) + struct.pack("<QBB", generation, flags, names)


def head(*rows, version=1, generation=3, count=None, size=None):
    b = struct.pack("<BQ", version, generation) + made("root.keys") + bytes([len(rows) if count is None else count]) + b"".join(rows)
    return b.ljust(double(len(b), 256, 4096) if size is None else size, b"\0")


def heads():
    under = derive(ROOT, "nexus root v2 keyhead")

    def sealed(plain, key_id=bytes(16), **ad):
        return wrap(under, CHANCE, wrap_ad(ad.pop("kind", b"keyhead"), key_id, **ad), plain)

    def vec(name, expect, data, says=None, user="alice", root=ROOT):
        fields = dict(user=user, incarnation=INC, root=root)
        if says is not None:
            fields["says"] = f"3 {made('root.keys').hex()}{says}"
        vector("keyhead-" + name, "keyhead", expect, data, CHANCE if says is not None else None, **fields)

    def said(n, generation=1, destroyed="false", names=0):
        return f" {row(n)[:16].hex()}:{generation}:{destroyed}:{names}"

    vec("empty", "ok", sealed(head()), "")
    vec("three", "ok", sealed(head(row(1, 0), row(2, 9, 0, 32), row(3, 4, 1))), said(1, 0) + said(2, 9, names=32) + said(3, 4, "true"))
    vec("full", "ok", sealed(head(*[row(n) for n in range(128)])), "".join(said(n) for n in range(128)))
    fine = sealed(head(row(1), row(2)))
    vec("nothing", "damaged@0", b"")
    vec("version", "damaged@0", flip(fine, 0, 3))
    vec("nonce", "damaged@25", flip(fine, 1))
    vec("commitment", "damaged@25", flip(fine, 30))
    vec("other-root", "damaged@25", fine, root=made("other root"))
    vec("other-user", "damaged@57", fine, user="bob")
    for name, data in {
        "sealed": flip(fine, 57), "tag": flip(fine, -1), "cut": fine[:-1],
        "other-incarnation": sealed(head(), inc=made("other", 16)), "other-purpose": sealed(head(), kind=b"ring"),
        "other-key-id": sealed(head(), key_id=u64(0)),
        "in-version": sealed(head(version=2)), "in-generation-0": sealed(head(generation=0)),
        "in-129-rings": sealed(head(*[row(n) for n in range(129)])), "in-count-over": sealed(head(row(1), count=10)),
        "in-count-under": sealed(head(row(1), row(2), count=1)), "in-unsorted": sealed(head(row(2), row(1))),
        "in-twice": sealed(head(row(1), row(1, 2))), "in-flag": sealed(head(row(1, 1, 2))),
        "in-33-keys": sealed(head(row(1, 1, 0, 33))), "in-keys-of-an-announced-ring": sealed(head(row(1, 0, 0, 1))),
        "in-keys-of-a-destroyed-ring": sealed(head(row(1, 1, 1, 1))), "in-bucket": sealed(head(size=512)),
        "in-padding": sealed(flip(head(), -1)), "in-empty": sealed(b""),
    }.items():
        vec(name, "damaged@57", data)


check()
print("""# Vectors of docs/spec/keymint.md about key files and blobs, written by files.py.
# A block is: name, kind, expect (ok, damaged@offset, or a class of error), then
# what goes in and what comes out. chance is what rngd answered: where it stands,
# sealing again must give the same data. Bytes are hexadecimal, lines of one name
# belong together.""")
for write in roots, rings, blobs, all_app_data, former, heads:
    write()
