"""Messages of Protocol Buffers, field by field into vectors. Fields come in any order, the last one of a number counts, and parts of one
message are merged. A malformed message leaves nothing behind."""

from __future__ import annotations

import numpy as np

from sqlstream.formats.binary.read_kernels import (
    begin_message,
    has_room,
    pass_bytes,
    put_text,
    put_word,
    signed,
    take_back,
    varint,
)
from sqlstream.formats.binary.read_layout import (
    AT,
    BASE,
    COUNT,
    CUT,
    END,
    FULL,
    LENGTH,
    SEEN,
    START,
    VECTOR_WORDS,
    WRONG,
)
from sqlstream.formats.csv_scan.fields import is_utf8
from sqlstream.formats.protobuf.layout import (
    ACTION,
    BOOLEAN,
    BYTES,
    DEEP,
    DEPTH,
    F_CHILD,
    F_KIND,
    F_SIZE,
    F_VALID,
    F_VALUE,
    F_VECTOR,
    FIELD,
    FINISH,
    FIXED4,
    FIXED8,
    FRAME,
    GROUPS,
    LEVEL,
    LISTS,
    MESSAGE,
    MESSAGES,
    NO_TEXT,
    NODE,
    NUMBER,
    REPEATED,
    TAG,
    TEXT,
    TEXTS,
    VARINT32,
    VECTOR,
    ZIGZAG,
)
from sqlstream.state.kernel import I64, U8, Instruction, helper, kernel, r, w

word = Instruction("word")


@helper
def pass_over(data, wire, state):  # type: ignore[no-untyped-def]
    """A value of a type on the wire, groups with all that is in them."""
    open_groups = 0
    while True:
        if wire == 0:
            varint(data, state)
        elif wire == 1:
            pass_bytes(8, state)
        elif wire == 5:
            pass_bytes(4, state)
        elif wire == 2:
            size = varint(data, state)
            if state[WRONG] == 0:
                pass_bytes(size, state)
        elif wire == 3:
            open_groups += 1
            if open_groups > GROUPS:
                state[WRONG] = DEEP
        elif wire == 4 and open_groups > 0:
            open_groups -= 1
        else:
            state[WRONG] = TAG
        if state[WRONG] != 0 or open_groups == 0:
            return
        tag = varint(data, state)
        wire = tag & 7
        if state[WRONG] == 0 and (tag >> 3 <= 0 or tag > 0xFFFFFFFF):
            state[WRONG] = TAG
        if state[WRONG] != 0:
            return


@helper
def number_of(data, action, state):  # type: ignore[no-untyped-def]
    """The word of a number at AT."""
    if action == FIXED4 or action == FIXED8:
        size = 4 if action == FIXED4 else 8
        at = state[AT]
        pass_bytes(size, state)
        if state[WRONG] != 0:
            return np.int64(0)
        value = word(data, at)
        if size == 4:
            value = np.int64(np.int32(value & 0xFFFFFFFF))
        return value
    value = varint(data, state)
    if action == ZIGZAG:
        return signed(value)
    if action == VARINT32:
        return np.int64(np.int32(value & 0xFFFFFFFF))
    if action == BOOLEAN:
        return np.int64(value != 0)
    return value


@helper
def finish(level, levels, finishes, data, literals, words, valid, texts, vectors, state):  # type: ignore[no-untyped-def]
    """A row, or an item: each of its vectors has a value more."""
    for i in range(levels[level], levels[level + 1]):
        f = i * FINISH
        v, kind = finishes[f + F_VECTOR], finishes[f + F_KIND]
        at = v * VECTOR_WORDS
        seen = vectors[at + SEEN]
        vectors[at + SEEN] = 0
        if not has_room(vectors, v, state):
            return
        place = vectors[at + BASE] + vectors[at + COUNT]
        if kind == TEXTS:
            if seen != 0:
                put_text(data, vectors[at + START], vectors[at + LENGTH], vectors, v, words, valid, texts, state)
            else:
                put_text(literals, finishes[f + F_VALUE], finishes[f + F_SIZE], vectors, v, words, valid, texts, state)
                valid[place] = finishes[f + F_VALID]
            if state[FULL] != 0:
                return
            continue
        if kind == LISTS:
            end = vectors[finishes[f + F_CHILD] * VECTOR_WORDS + COUNT]
            begin = words[place - 1] if vectors[at + COUNT] > 0 else 0
            words[place], valid[place] = end, end > begin or finishes[f + F_VALID] != 0
        elif kind == MESSAGES:
            valid[place] = seen != 0 or finishes[f + F_VALID] != 0
        elif seen != 0:
            valid[place] = 1
        else:
            words[place], valid[place] = finishes[f + F_VALUE], finishes[f + F_VALID]
        vectors[at + COUNT] += 1


@kernel(
    I64,
    r(U8),
    r(I64),
    r(I64),
    I64,
    I64,
    r(I64),
    r(I64),
    r(I64),
    r(I64),
    r(U8),
    I64,
    w(I64),
    w(U8),
    w(U8),
    w(I64),
    w(I64),
    w(I64),
    w(I64),
)
def decode(  # type: ignore[no-untyped-def]
    data,
    begins,
    sizes,
    first,
    count,
    nodes,
    fields,
    levels,
    finishes,
    literals,
    width,
    words,
    valid,
    texts,
    vectors,
    errors,
    stack,
    state,
):
    """Messages from `first` on, each of `sizes` bytes that begin at `begins`. Gives the message that was not done, for which FULL has no
    room; `count`: all were. `errors`: why one is malformed; 0: it is not. `nodes`: where the fields of each begin in `fields`, and end;
    `levels`: likewise in `finishes`."""
    for m in range(first, count):
        state[AT], state[END] = begins[m], begins[m] + sizes[m]
        begin_message(vectors, width, state)
        stack[0], stack[1], stack[2] = state[END], 0, 0
        depth, hint = 1, nodes[0]
        while depth > 0 and state[WRONG] == 0 and state[FULL] == 0:
            top = (depth - 1) * FRAME
            if state[AT] >= stack[top]:
                if stack[top + 2] >= 0:
                    finish(stack[top + 2], levels, finishes, data, literals, words, valid, texts, vectors, state)
                depth -= 1
                if depth > 0:
                    state[END] = stack[top - FRAME]
                    hint = nodes[stack[top - FRAME + 1]]
                continue
            tag = varint(data, state)
            if state[WRONG] != 0:
                break
            number, wire = (tag >> 3) & 0x1FFFFFFF, tag & 7
            if number == 0 or wire > 5 or tag < 0 or tag > 0xFFFFFFFF:
                state[WRONG] = TAG
                break
            # fields mostly come in the order of their numbers
            node = stack[top + 1]
            begin, end = nodes[node], nodes[node + 1]
            found, i = np.int64(-1), hint
            for _ in range(begin, end):
                if i >= end:
                    i = begin
                if fields[i * FIELD + NUMBER] == number:
                    found = i
                    break
                i += 1
            if found < 0:
                pass_over(data, wire, state)
                continue
            hint = found
            f = found * FIELD
            action, v, repeated = fields[f + ACTION], fields[f + VECTOR], fields[f + REPEATED]
            expected = 2 if BYTES <= action <= MESSAGE else 5 if action == FIXED4 else 1 if action == FIXED8 else 0
            if wire == 2 and expected != 2 and repeated != 0:  # packed
                size = varint(data, state)
                if state[WRONG] == 0 and (size < 0 or size > state[END] - state[AT]):
                    state[WRONG] = CUT
                if state[WRONG] == 0:
                    outer = state[END]
                    state[END] = state[AT] + size
                    while state[AT] < state[END] and state[WRONG] == 0 and state[FULL] == 0:
                        value = number_of(data, action, state)
                        if state[WRONG] == 0:
                            put_word(value, vectors, v, words, valid, state)
                    state[END] = outer
            elif wire != expected:
                pass_over(data, wire, state)
            elif expected != 2:
                value = number_of(data, action, state)
                if state[WRONG] == 0:
                    if repeated != 0:
                        put_word(value, vectors, v, words, valid, state)
                    elif has_room(vectors, v, state):
                        at = v * VECTOR_WORDS
                        words[vectors[at + BASE] + vectors[at + COUNT]] = value
                        vectors[at + SEEN] = 1
            else:
                size = varint(data, state)
                if state[WRONG] == 0 and (size < 0 or size > state[END] - state[AT]):
                    state[WRONG] = CUT
                if state[WRONG] != 0:
                    break
                at = v * VECTOR_WORDS
                if action == MESSAGE:
                    if depth >= DEPTH:
                        state[WRONG] = DEEP
                        break
                    if v >= 0:
                        vectors[at + SEEN] = 1
                    end_of = state[AT] + size
                    stack[top + FRAME], stack[top + FRAME + 1], stack[top + FRAME + 2] = (
                        end_of,
                        fields[f + NODE],
                        fields[f + LEVEL],
                    )
                    depth += 1
                    state[END] = end_of
                    hint = nodes[fields[f + NODE]]
                elif action == TEXT and not is_utf8(data, state[AT], state[AT] + size):
                    state[WRONG] = NO_TEXT
                elif repeated != 0:
                    put_text(data, state[AT], size, vectors, v, words, valid, texts, state)
                    state[AT] += size
                else:
                    vectors[at + SEEN], vectors[at + START], vectors[at + LENGTH] = 1, state[AT], size
                    state[AT] += size
        if state[WRONG] != 0 or state[FULL] != 0:
            take_back(vectors, width)
        if state[FULL] != 0 and state[WRONG] == 0:
            return np.int64(m)
        errors[m] = state[WRONG]
    return np.int64(count)
