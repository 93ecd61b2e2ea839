"""Messages as librdkafka gives them, pointers to rd_kafka_message_t, copied into arrays. Memory is read by its distance from an
array whose address is known (`origin`)."""

from __future__ import annotations

from sqlstream.state.kernel import I64, U8, VOID, Instruction, kernel, r, w

byte, put_byte, word = Instruction("byte"), Instruction("put_byte"), Instruction("word")
load64, store64, call2 = Instruction("load64"), Instruction("store64"), Instruction("call2")

# The words of rd_kafka_message_t: error (32 bits), topic, partition, payload, its size, key, its size, offset.
PAYLOAD, KEY, OFFSET = 24, 40, 56
LONGEST = 2**31


@kernel(I64, r(U8), I64, r(I64), I64, w(I64), w(I64))
def look(memory, origin, pointers, count, errors, offsets):  # type: ignore[no-untyped-def]
    """The `errors` (0: none) and offsets of messages; how many of them are no messages but errors."""
    wrong = 0
    for i in range(count):
        at = pointers[i] - origin
        error = word(memory, at) & 0xFFFFFFFF
        if error >= LONGEST:
            error -= 2 * LONGEST
        errors[i] = error
        offsets[i] = word(memory, at + OFFSET)
        wrong += error != 0
    return wrong


@kernel(I64, r(U8), I64, r(I64), I64, I64, w(I64))
def measure(memory, origin, pointers, count, part, sizes):  # type: ignore[no-untyped-def]
    """The sizes of a part (PAYLOAD or KEY) of messages, -1 for NULL; how many bytes their lines have."""
    total = 0
    for i in range(count):
        at = pointers[i] - origin + part
        size = word(memory, at + 8)
        if word(memory, at) == 0:
            size = -1
        sizes[i] = size
        if size > 0:
            total += size + 1
    return total


@kernel(VOID, r(U8), I64, r(I64), I64, I64, r(I64), w(U8))
def copy(memory, origin, pointers, count, part, sizes, out):  # type: ignore[no-untyped-def]
    """The lines of a part: each that has bytes, and a line end behind it."""
    to = 0
    for i in range(count):
        size = sizes[i]
        if size <= 0:
            continue
        source = word(memory, pointers[i] - origin + part) - origin
        k = 0
        while k + 8 <= size:
            store64(out, to + k, load64(memory, source + k))
            k += 8
        while k < size:
            put_byte(out, to + k, byte(memory, source + k))
            k += 1
        to += size
        put_byte(out, to, 10)
        to += 1


@kernel(VOID, r(I64), I64, I64, I64, w(I64))
def call_each(pointers, count, function, argument, out):  # type: ignore[no-untyped-def]
    """What a function of the library gives for each message, and for one argument that is the same for all."""
    for i in range(count):
        out[i] = call2(function, pointers[i], argument)
