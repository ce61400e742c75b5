"""The primitives of docs/spec/keymint.md and docs/spec/identity.md, from their RFCs.

Python's standard library has SHA-2, HMAC and BLAKE2b. XChaCha20-Poly1305 (RFC 8439
and draft-irtf-cfrg-xchacha) and Argon2id (RFC 9106) are written out here. Nothing
is constant in time: this is for vectors and for reading a copy of a disk."""
import hashlib
import hmac
import struct

MASK32 = 0xFFFFFFFF
MASK64 = 0xFFFFFFFFFFFFFFFF


# ---- ChaCha20, HChaCha20, Poly1305 ----

def quarter(s, a, b, c, d):
    s[a] = (s[a] + s[b]) & MASK32
    x = s[d] ^ s[a]
    s[d] = (x << 16 | x >> 16) & MASK32
    s[c] = (s[c] + s[d]) & MASK32
    x = s[b] ^ s[c]
    s[b] = (x << 12 | x >> 20) & MASK32
    s[a] = (s[a] + s[b]) & MASK32
    x = s[d] ^ s[a]
    s[d] = (x << 8 | x >> 24) & MASK32
    s[c] = (s[c] + s[d]) & MASK32
    x = s[b] ^ s[c]
    s[b] = (x << 7 | x >> 25) & MASK32


def rounds(state):
    s = list(state)
    for _ in range(10):
        for column in range(4):
            quarter(s, column, column + 4, column + 8, column + 12)
        quarter(s, 0, 5, 10, 15)
        quarter(s, 1, 6, 11, 12)
        quarter(s, 2, 7, 8, 13)
        quarter(s, 3, 4, 9, 14)
    return s


SIGMA = struct.unpack("<4I", b"expand 32-byte k")


def hchacha20(key, nonce16):
    s = rounds(SIGMA + struct.unpack("<8I", key) + struct.unpack("<4I", nonce16))
    return struct.pack("<8I", *(s[:4] + s[12:]))


def chacha20(key, counter, nonce12, data):
    words, n = struct.unpack("<8I", key), struct.unpack("<3I", nonce12)
    out = bytearray()
    for at in range(0, len(data), 64):
        state = SIGMA + words + ((counter + at // 64) & MASK32,) + n
        block = struct.pack("<16I", *((a + b) & MASK32 for a, b in zip(rounds(state), state)))
        piece = data[at:at + 64]
        out += (int.from_bytes(piece, "little") ^ int.from_bytes(block[:len(piece)], "little")).to_bytes(len(piece), "little")
    return bytes(out)


def poly1305(key, message):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    acc, p = 0, (1 << 130) - 5
    for at in range(0, len(message), 16):
        acc = (acc + int.from_bytes(message[at:at + 16] + b"\1", "little")) * r % p
    return ((acc + int.from_bytes(key[16:], "little")) & ((1 << 128) - 1)).to_bytes(16, "little")


def pad16(b):
    return b + bytes(-len(b) % 16)


def parts(key, nonce24):
    return hchacha20(key, nonce24[:16]), bytes(4) + nonce24[16:]


def mac(key, nonce, ad, sealed):
    one_time = chacha20(key, 0, nonce, bytes(32))
    return poly1305(one_time, pad16(ad) + pad16(sealed) + struct.pack("<QQ", len(ad), len(sealed)))


def aead_seal(key, nonce24, ad, plain):
    key, nonce = parts(key, nonce24)
    sealed = chacha20(key, 1, nonce, plain)
    return sealed + mac(key, nonce, ad, sealed)


def aead_open(key, nonce24, ad, sealed):
    """The plaintext, or None."""
    if len(sealed) < 16:
        return None
    key, nonce = parts(key, nonce24)
    if mac(key, nonce, ad, sealed[:-16]) != sealed[-16:]:
        return None
    return chacha20(key, 1, nonce, sealed[:-16])


# ---- HKDF and what docs/spec/keymint.md makes of it ----

def hmac256(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def tuple_(*fields):
    return b"".join(struct.pack("<H", len(f)) + f for f in fields)


def u64(n):
    return struct.pack("<Q", n)


def expand(key, info):
    """HKDF-Expand to one block."""
    return hmac256(key, info + b"\1")


def derive(key, label, *context):
    return expand(key, tuple_(label.encode(), *context))


def kek(auth, salt, user, incarnation, protector):
    return expand(hmac256(salt, auth), tuple_(b"nexus kek v1", user, incarnation, u64(protector), b"\1"))


def mix(key, chance, ad, plain):
    return hmac256(key, chance + struct.pack("<I", len(ad)) + ad + plain)[:24]


def wrap(under, chance, ad, plain):
    nonce = mix(derive(under, "nexus wrap v1 nonce"), chance, ad, plain)
    commitment = derive(under, "nexus wrap v1 commit", nonce)
    return b"\1" + nonce + commitment + aead_seal(derive(under, "nexus wrap v1 encrypt", nonce), nonce, ad, plain)


def unwrap(under, ad, wrapped):
    """The plaintext, or one of the strings layout, wrong-key and not-authentic."""
    if len(wrapped) < 73 or wrapped[0] != 1:
        return "layout"
    nonce = wrapped[1:25]
    if derive(under, "nexus wrap v1 commit", nonce) != wrapped[25:57]:
        return "wrong-key"
    plain = aead_open(derive(under, "nexus wrap v1 encrypt", nonce), nonce, ad, wrapped[57:])
    return "not-authentic" if plain is None else plain


def file_id(names, app):
    return hmac256(names, app)[:16]


# ---- Argon2id ----

def blake_long(data, size):
    """H' of RFC 9106, section 3.3."""
    data = struct.pack("<I", size) + data
    if size <= 64:
        return hashlib.blake2b(data, digest_size=size).digest()
    v = hashlib.blake2b(data).digest()
    out = v[:32]
    while size - len(out) > 64:
        v = hashlib.blake2b(v).digest()
        out += v[:32]
    return out + hashlib.blake2b(v, digest_size=size - len(out)).digest()


def mix4(v, a, b, c, d):
    x, y = v[a], v[b]
    x = (x + y + 2 * (x & MASK32) * (y & MASK32)) & MASK64
    z = v[d] ^ x
    z = (z >> 32 | z << 32) & MASK64
    w = v[c]
    w = (w + z + 2 * (w & MASK32) * (z & MASK32)) & MASK64
    y ^= w
    y = (y >> 24 | y << 40) & MASK64
    x = (x + y + 2 * (x & MASK32) * (y & MASK32)) & MASK64
    z ^= x
    z = (z >> 16 | z << 48) & MASK64
    w = (w + z + 2 * (w & MASK32) * (z & MASK32)) & MASK64
    y ^= w
    v[a], v[b], v[c], v[d] = x, (y >> 63 | y << 1) & MASK64, w, z


def permute(v, i):
    mix4(v, i[0], i[4], i[8], i[12])
    mix4(v, i[1], i[5], i[9], i[13])
    mix4(v, i[2], i[6], i[10], i[14])
    mix4(v, i[3], i[7], i[11], i[15])
    mix4(v, i[0], i[5], i[10], i[15])
    mix4(v, i[1], i[6], i[11], i[12])
    mix4(v, i[2], i[7], i[8], i[13])
    mix4(v, i[3], i[4], i[9], i[14])


ROWS = [[16 * r + k for k in range(16)] for r in range(8)]
COLUMNS = [[16 * k + 2 * c + half for k in range(8) for half in (0, 1)] for c in range(8)]


def compress(x, y):
    r = [a ^ b for a, b in zip(x, y)]
    v = list(r)
    for i in ROWS:
        permute(v, i)
    for i in COLUMNS:
        permute(v, i)
    return [a ^ b for a, b in zip(r, v)]


def argon2id(secret, salt, passes, memory, lanes, size):
    """RFC 9106, version 0x13, memory in KiB, without key and associated data."""
    h0 = hashlib.blake2b(struct.pack("<6I", lanes, size, memory, passes, 0x13, 2) + b"".join(
        struct.pack("<I", len(f)) + f for f in (secret, salt, b"", b""))).digest()
    blocks = 4 * lanes * (memory // (4 * lanes))
    columns, segment = blocks // lanes, blocks // lanes // 4
    b = [[None] * columns for _ in range(lanes)]
    for lane in range(lanes):
        for j in 0, 1:
            b[lane][j] = list(struct.unpack("<128Q", blake_long(h0 + struct.pack("<II", j, lane), 1024)))
    for turn in range(passes):
        for part in range(4):
            for lane in range(lanes):
                fill(b, turn, part, lane, (passes, blocks, columns, segment, lanes))
    last = b[0][-1]
    for lane in range(1, lanes):
        last = [x ^ y for x, y in zip(last, b[lane][-1])]
    return blake_long(struct.pack("<128Q", *last), size)


def fill(b, turn, part, lane, shape):
    """One segment of one lane."""
    passes, blocks, columns, segment, lanes = shape
    independent = turn == 0 and part < 2
    addresses = []
    for i in range(segment):
        if independent and i % 128 == 0:
            entry = [turn, lane, part, blocks, passes, 2, i // 128 + 1] + [0] * 121
            addresses = compress([0] * 128, compress([0] * 128, entry))
        column = part * segment + i
        if turn == 0 and column < 2:
            continue
        pseudo = addresses[i % 128] if independent else b[lane][column - 1][0]
        other = lane if turn == 0 and part == 0 else (pseudo >> 32) % lanes
        reach, start = window(turn, part, i, other == lane, columns, segment)
        x = (pseudo & MASK32) ** 2 >> 32
        reference = (start + reach - 1 - (reach * x >> 32)) % columns
        made = compress(b[lane][column - 1], b[other][reference])
        if turn > 0:
            made = [p ^ q for p, q in zip(made, b[lane][column])]
        b[lane][column] = made


def window(turn, part, i, same, columns, segment):
    """How many blocks may be referred to, and the first of them."""
    if turn == 0:
        done, start = part * segment, 0
    else:
        done, start = columns - segment, (part + 1) * segment % columns
    if same:
        return done + i - 1, start
    return done - (1 if i == 0 else 0), start


def check():
    """Known answers: a primitive that is wrong must not look like a wrong file."""
    # draft-irtf-cfrg-xchacha-03, A.3.1
    plain = (b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
             b"sunscreen would be it.")
    sealed = aead_seal(bytes(range(0x80, 0xA0)), bytes(range(0x40, 0x58)), bytes.fromhex("50515253c0c1c2c3c4c5c6c7"), plain)
    assert sealed[-16:].hex() == "c0875924c1c7987947deafd8780acf49", "XChaCha20-Poly1305"
    # RFC 5869, A.1, of which derive uses the first block
    prk = hmac256(bytes(range(13)), b"\x0b" * 22)
    assert expand(prk, bytes(range(0xF0, 0xFA))).hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf", "HKDF"
    # docs/spec/identity.md
    out = argon2id(b"correct horse", bytes(range(16)), 3, 64, 2, 64)
    assert hashlib.sha256(out[:32]).hexdigest() == "6b79642cbc656e6406739ca36500eccd1576745e26cc4cc53335e59a8b3c53e7", "Argon2id"
    assert out[32:].hex() == "9cc5b2190eded7fc2850802c411e7c5ba91f9eb20cd0a0e0e678076dc2f2e79d", "Argon2id"


if __name__ == "__main__":
    check()
    print("primitives: ok")
