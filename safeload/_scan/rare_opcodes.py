"""The opcodes that are rare in models; those of protocols 0 to 3 among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from safeload._scan import forms
from safeload._scan.arrays import Arrays
from safeload._scan.ledger import A_CONTAINER, A_SLOT, A_TEXT, AN_INTEGER
from safeload._scan.opcodes import (
    ADDITEMS,
    BINBYTES,
    BINBYTES8,
    BINUNICODE8,
    BYTEARRAY8,
    DICT,
    EMPTY_SET,
    FLOAT,
    FROZENSET,
    GET,
    GLOBAL,
    INT,
    LIST,
    LONG,
    LONG1,
    LONG4,
    NEVER_WRITTEN,
    NEWOBJ_EX,
    PROTO,
    PUT,
    STACK_GLOBAL,
    UNICODE,
)
from safeload._scan.values import (
    FLOAT_VALUE,
    ADict,
    AList,
    ASet,
)
from safeload._scan.window import KEPT_TEXT
from safeload.findings import RefusedError

if TYPE_CHECKING:
    from mypy_extensions import i64


_RARE: Final = 3  # how many opcodes more one is worth that the main loop leaves to `rare`


class Rare(Arrays):
    """What the machine does not do itself, in the loop."""

    def rare(self, code: i64, stack: list[Any], metastack: list[list[Any]]) -> list[Any]:
        """Do one of the rarer opcodes and return the stack to go on with."""
        value: Any = None
        items: list[Any] = []
        size: i64 = 0
        self.work += _RARE
        if code == STACK_GLOBAL:
            value = stack.pop()
            stack[-1] = self.stack_global(stack[-1], value)
        elif code == GLOBAL:
            stack.append(self.line_global())
        elif code == BINBYTES:
            stack.append(self.bytes_of(self.number(4)))
        elif code == BINBYTES8:
            stack.append(self.bytes_of(self.number(8)))
        elif code == BYTEARRAY8:
            size = self.number(8)
            stack.append(self.long_bytes(size, True))
            self.memory += A_TEXT
        elif code == BINUNICODE8:
            size = self.number(8)
            stack.append(self.text(size))
            self.memory += A_TEXT + 4 * (size if size < KEPT_TEXT else 0)
        elif code == LONG1:
            stack.append(self.long(self.number(1)))
            self.memory += AN_INTEGER + 24
        elif code == LONG4:
            stack.append(self.long(self.number(4)))
            self.memory += AN_INTEGER + 24
        elif code == EMPTY_SET:
            stack.append(ASet([], False))
            self.memory += A_CONTAINER
        elif code == ADDITEMS:
            items = stack
            stack = metastack.pop()
            self.add_items(stack[-1], items)
        elif code == FROZENSET:
            items = stack
            stack = metastack.pop()
            value = ASet(items, True)
            self.check_keys(value, items, 1)
            stack.append(value)
            self.memory += A_CONTAINER + A_SLOT * len(items)
        elif code == LIST:
            items = stack
            stack = metastack.pop()
            stack.append(AList(items))
            self.memory += A_CONTAINER + A_SLOT * len(items)
        elif code == DICT:
            items = stack
            stack = metastack.pop()
            value = ADict([])
            self.memory += A_CONTAINER
            self.set_items(value, items)
            stack.append(value)
        elif code == NEWOBJ_EX:
            keywords = stack.pop()
            value = stack.pop()
            stack[-1] = self.new_ex(stack[-1], value, keywords)
        elif code == PUT:
            self.kept_twice = True  # it may stand after a GET
            self.put(self.decimal(), stack[-1])
        elif code == GET:
            size = self.decimal()
            if size >= len(self.memo):
                raise self.no_memo(size)
            value = self.memo[size]
            if size > self.fetched:
                self.fetched = size
            self.kept_twice = True  # a BINPUT may follow
            self.fetch(value)
            stack.append(value)
        elif code == INT:
            stack.append(self.text_int())
            self.memory += AN_INTEGER + 24
        elif code == LONG:
            stack.append(self.text_long())
            self.memory += AN_INTEGER + 24
        elif code == FLOAT:
            self.text_float()
            stack.append(FLOAT_VALUE)
        elif code == UNICODE:
            self.work += 1
            value = self.text_line()
            stack.append(value)
            self.memory += A_TEXT + 4 * (len(value) if isinstance(value, str) else 0)
        elif code == PROTO:
            raise RefusedError("SL309", "PROTO occurs after the start of the pickle", self.at)
        elif code in NEVER_WRITTEN:
            raise RefusedError("SL303", f"picklers do not write {NEVER_WRITTEN[code]} for a model", self.at)
        else:
            raise RefusedError("SL302", f"byte 0x{int(code):02x} is not an opcode", self.at)
        return stack

    def bytes_of(self, size: i64) -> object:
        self.memory += AN_INTEGER + (size if size <= forms.KEPT_BYTES else 0)
        return self.short_bytes(size)

    def set_proto(self, version: i64, nested: bool) -> None:
        if nested and version not in (2, 5):
            # joblib before 1.5 wrote 2, whatever the protocol around it, and writes 5 since.
            raise RefusedError("SL314", f"a nested pickle has protocol {version} instead of 5 or 2", self.at)
        if version < 2 or version > 5:
            raise RefusedError("SL309", f"PROTO gives protocol {version} instead of 2 to 5", self.at)
        self.proto = version
