"""Refused vectors of opcodes: names, memo, calls, states, items, keys, spellings, protocols, sizes."""

from __future__ import annotations

import pickle

from pickles.opcodes import (
    NDARRAY,
    RECONSTRUCT,
    STOP,
    array,
    build,
    call,
    dtype,
    get,
    glob,
    line_glob,
    mapping,
    new,
    number,
    old_stream,
    proto,
    put,
    raw,
    stream,
    text,
    tup,
    value,
)
from vectors.hostile import (
    BUNCH,
    CHECK,
    LINE_RUN,
    LINEAR,
    LOG,
    ODICT,
    PARTIAL,
    PUTENV,
    RUN,
    TEXT_RUN,
    TRANSFORMER,
    UNSETENV,
    VARIABLE,
    Case,
    Table,
    code,
    exhaust,
    files,
    form,
    setitem,
    then,
)

_ARGS = tup(VARIABLE, "ran")

# --------------------------------------------------------------------------------------------------- names

NAMES: Table = {
    "dotted": code(
        "SL308", "a dotted name reaches os through a module that imported it",
        call(glob("joblib.numpy_pickle", "os.putenv"), VARIABLE, "ran")),
    "dotted-method": form(
        "SL308", "a dotted name of an allowed class", glob("sklearn.linear_model._base", "LinearRegression.fit")),
    "re-export": Case(
        "SL405", "names", "os, found in a module that imports it",
        stream(call(glob("numpy.lib._datasource", "os"), "x"))),
    "dunder": form("SL308", "a module's __builtins__", glob("numpy", "__builtins__")),
    "empty-name": form("SL308", "an empty name", glob("numpy", "")),
    "empty-module": form("SL308", "an empty module", glob("", "x")),
    "relative-module": form("SL308", "a relative module", glob(".numpy", "x")),
    "path-as-module": form("SL308", "a path for a module", glob("a/b", "x")),
    "look-alike": form("SL308", "a Cyrillic letter in ndarray", glob("numpy", "nd\u0430rray")),
    "end-of-line": form("SL308", "a name with an end of line", glob("numpy", "ndarray\n")),
    "nul": form("SL308", "a name with a NUL", glob("numpy", "nd\0array")),
    "surrogate": form("SL308", "a lone surrogate for a name", glob("numpy", "\udc80")),
    "global-from-protocol-4": code(
        "SL308", "GLOBAL, the opcode of older protocols, in protocol 4", LINE_RUN),
    "global-dotted-from-protocol-4": code(
        "SL308", "GLOBAL with a dotted name, which protocol 4 resolves",
        call(line_glob("joblib.numpy_pickle", "os.putenv"), VARIABLE, "ran")),
    "stack-global-before-protocol-4": code(
        "SL308", "STACK_GLOBAL, the opcode of newer protocols, in protocol 3", RUN, version=3),
    "too-long": Case("SL508", "form", "a name of 9,000 letters", proto(2) + b"c" + b"a" * 9000 + b"\nx\n."),
    "not-utf-8": Case("SL322", "form", "a module that is not UTF-8", proto(2) + b"c\xff\nx\n."),
    "python-2-eval": Case(
        "SL405", "names", "a name of Python 2 that stands for builtins.eval",
        stream(call(line_glob("__builtin__", "eval"), "1+1"), version=2)),
    "python-2-eval-text": Case(
        "SL405", "names", "the same in protocol 0", b"c__builtin__\neval\n(V1+1\ntR."),
    "python-2-commands": Case(
        "SL405", "names", "a module of Python 2, mapped to subprocess",
        stream(line_glob("commands", "getoutput"), version=2)),
    "python-2-reduce": Case(
        "SL405", "names", "Python 2's reduce", stream(line_glob("__builtin__", "reduce"), version=2)),
    "python-2-urllib": Case(
        "SL405", "names", "Python 2's urllib2", stream(line_glob("urllib2", "urlopen"), version=2)),
    "python-2-pickle": Case(
        "SL405", "names", "Python 2's cPickle where no mapping applies",
        stream(call(line_glob("cPickle", "loads"), raw(b"N.")), version=3)),
    "python-2-name-in-a-nested-pickle": Case(
        "SL308", "form", "a name of Python 2 in a nested pickle, which some versions of joblib map and others do not",
        proto(2)
        + build(
            line_glob("joblib.numpy_pickle", "NumpyArrayWrapper") + tup() + pickle.NEWOBJ,
            {"subclass": line_glob("numpy", "ndarray"), "shape": (1,), "order": "C", "allow_mmap": False,
             "dtype": build(line_glob("numpy", "dtype") + tup("O8", False, True) + pickle.REDUCE,
                            (3, "|", None, None, None, -1, -1, 63))})
        + stream(array((1,), dtype("O8"), [glob("__builtin__", "int")]), version=5) + STOP),
}  # fmt: skip

STACK_GLOBALS: Table = {
    "memoised": code(
        "SL405", "the names come from the memo, pushed long before",
        then(text("os") + put(0), text("putenv") + put(1),
             get(0) + get(1) + pickle.STACK_GLOBAL + _ARGS + pickle.REDUCE)),
    "memoised-by-memoize": code(
        "SL405", "the same with MEMOIZE",
        then(text("os") + pickle.MEMOIZE, text("putenv") + pickle.MEMOIZE,
             get(0) + get(1) + pickle.STACK_GLOBAL + _ARGS + pickle.REDUCE)),
    "memo-overwritten": code(
        "SL307", "the memo entry of a harmless name is written over",
        then(text("numpy") + put(0), text("os") + put(0), get(0) + text("putenv") + pickle.STACK_GLOBAL + _ARGS
             + pickle.REDUCE)),
    "memo-overwritten-by-memoize": code(
        "SL307", "MEMOIZE takes the number that a PUT ahead has, and replaces the harmless name there",
        then(text("numpy") + put(1), text("os") + pickle.MEMOIZE,
             get(1) + text("putenv") + pickle.STACK_GLOBAL + _ARGS + pickle.REDUCE)),
    "after-pop": code(
        "SL303", "a harmless name is pushed and popped between the real ones",
        text("os"), text("numpy"), pickle.POP, text("putenv"), text("dtype"), pickle.POP, pickle.STACK_GLOBAL, _ARGS,
        pickle.REDUCE),
    "dup": code(
        "SL303", "the module is pushed by DUP", text("os"), pickle.DUP, pickle.POP, text("putenv"),
        pickle.STACK_GLOBAL, _ARGS, pickle.REDUCE),
    "pop-mark": code(
        "SL303", "names in a mark level that POP_MARK throws away", text("os"), text("putenv"), pickle.MARK,
        text("numpy"), text("dtype"), pickle.POP_MARK, pickle.STACK_GLOBAL, _ARGS, pickle.REDUCE),
    "pop-at-an-empty-mark": code(
        "SL303", "POP at an empty mark level removes the mark", text("os"), pickle.MARK, pickle.POP, text("putenv"),
        pickle.STACK_GLOBAL, _ARGS, pickle.REDUCE),
    "computed-by-a-call": code(
        "SL308", "the module's name is decoded from bytes by a call",
        call(glob("_codecs", "decode"), raw(b"os"), "utf8"), text("putenv"), pickle.STACK_GLOBAL, _ARGS, pickle.REDUCE),
    "computed-by-str": code(
        "SL308", "the module's name is the result of a call of str", call(glob("builtins", "str"), "os"),
        text("putenv"), pickle.STACK_GLOBAL, _ARGS, pickle.REDUCE),
    "by-long-binunicode": code(
        "SL405", "names with lengths of eight bytes",
        *(pickle.BINUNICODE8 + len(one).to_bytes(8, "little") + one for one in (b"os", b"putenv")),
        pickle.STACK_GLOBAL, _ARGS, pickle.REDUCE),
    "by-unicode-escape": code(
        "SL405", "names in raw-unicode-escape, written as escapes",
        b"V\\u006fs\nV\\u0070utenv\n", pickle.STACK_GLOBAL, _ARGS, pickle.REDUCE),
    "by-string": code(
        "SL303", "names by STRING, as Python 2 wrote them", b"S'os'\nS'putenv'\n", pickle.STACK_GLOBAL, _ARGS,
        pickle.REDUCE),
    "by-short-binstring": code(
        "SL303", "names by SHORT_BINSTRING", b"U\2osU\6putenv", pickle.STACK_GLOBAL, _ARGS, pickle.REDUCE),
    "of-bytes": form("SL308", "names that are bytes", raw(b"os"), raw(b"putenv"), pickle.STACK_GLOBAL),
    "of-an-int": form("SL308", "names that are numbers", number(1), number(2), pickle.STACK_GLOBAL),
    "of-nothing": form("SL306", "STACK_GLOBAL on an empty stack", pickle.STACK_GLOBAL),
}  # fmt: skip

# ------------------------------------------------------------------------------------------ memo and marks

MEMO: Table = {
    "memoize-after-a-put-ahead": form("SL307", "MEMOIZE after a PUT ahead", pickle.NONE, put(1), pickle.MEMOIZE),
    "put-over": form("SL307", "PUT over what is there", pickle.NONE, pickle.MEMOIZE, put(0)),
    "put-far-ahead": exhaust("SL307", "PUT of 2**32 - 1", pickle.NONE, pickle.LONG_BINPUT + b"\xff\xff\xff\xff"),
    "get-of-nothing": form("SL307", "GET of what was never put", get(0)),
    "long-get-of-nothing": form("SL307", "LONG_BINGET of 2**32 - 1", pickle.LONG_BINGET + b"\xff\xff\xff\xff"),
    "text-get-of-nothing": form("SL307", "the text GET of what was never put", pickle.GET + b"0\n"),
    "put-of-nothing": form("SL306", "PUT on an empty stack", put(0)),
    "memoize-of-nothing": form("SL306", "MEMOIZE on an empty stack", pickle.MEMOIZE),
    "put-at-an-empty-mark": form("SL306", "PUT at an empty mark level", pickle.NONE, pickle.MARK, put(0)),
    "function-from-the-memo": code(
        "SL405", "the function is memoised, and called from the memo",
        then(PUTENV + put(0), get(0) + _ARGS + pickle.REDUCE)),
    "arguments-used-again": form(
        "SL318", "the arguments of a call, with the class that counted as used, fetched from the memo",
        build(RECONSTRUCT + tup(NDARRAY, (0,), raw(b"b")) + pickle.MEMOIZE + pickle.REDUCE,
              (1, (1,), dtype(), False, raw(bytes(8)))), get(0), pickle.TUPLE2),
    "dup-of-a-function": code(
        "SL303", "the function comes from DUP", PUTENV, pickle.DUP, pickle.POP, _ARGS, pickle.REDUCE),
    "popped-call": code("SL303", "a call whose result is thrown away", RUN, pickle.POP, pickle.NONE),
    "popped-by-mark": code("SL303", "the same by POP_MARK", pickle.MARK, RUN, pickle.POP_MARK, pickle.NONE),
    "left-on-the-stack": code("SL306", "a call whose result is left on the stack", RUN, pickle.NONE),
    "a-mark-left": form("SL306", "a mark is left on the stack", pickle.MARK, pickle.NONE),
    "tuple-without-a-mark": form("SL306", "TUPLE without a mark", pickle.NONE, pickle.TUPLE),
    "stop-on-nothing": form("SL306", "STOP on an empty stack"),
    "key-without-value": form(
        "SL306", "SETITEMS of an odd number", pickle.EMPTY_DICT, pickle.MARK, text("a"), pickle.SETITEMS),
}  # fmt: skip

# ----------------------------------------------------------------------------------- opcodes nobody writes

OPCODES: Table = {
    "inst": code("SL303", "INST names and calls at once", b"(V" + VARIABLE.encode() + b"\nVran\nios\nputenv\n"),
    "inst-text": Case(
        "SL303", "code", "INST in protocol 0", b"(V" + VARIABLE.encode() + b"\nVran\nios\nputenv\n."),
    "obj": code(
        "SL303", "OBJ calls what is in a mark level", pickle.MARK, PUTENV, text(VARIABLE), text("ran"), pickle.OBJ),
    "ext1": form("SL303", "an extension code for a name", pickle.EXT1 + b"\1"),
    "ext2": form("SL303", "an extension code of two bytes", pickle.EXT2 + b"\1\0"),
    "ext4": form("SL303", "an extension code of four bytes", pickle.EXT4 + b"\1\0\0\0"),
    "persid": form("SL303", "a persistent id", pickle.PERSID + b"x\n"),
    "binpersid": form("SL303", "a persistent id from the stack", text("x"), pickle.BINPERSID),
    "string": form("SL303", "STRING of Python 2", pickle.STRING + b"'x'\n"),
    "binstring": form("SL303", "BINSTRING of Python 2", pickle.BINSTRING + b"\1\0\0\0x"),
    "short-binstring": form("SL303", "SHORT_BINSTRING of Python 2", pickle.SHORT_BINSTRING + b"\1x"),
    "next-buffer": form("SL303", "an out-of-band buffer", pickle.NEXT_BUFFER, version=5),
    "readonly-buffer": form("SL303", "a read-only out-of-band buffer", pickle.NONE, pickle.READONLY_BUFFER, version=5),
    "unknown-0x00": form("SL302", "a byte that is no opcode: 0x00", b"\0"),
    "unknown-0xff": form("SL302", "a byte that is no opcode: 0xff", b"\xff"),
    "call-then-unknown": code("SL302", "a call, and then no opcode: it has run by then", RUN, b"\xff"),
    "call-then-unknown-after-pop": code("SL303", "the same after a POP", RUN, pickle.POP, b"\xff"),
}  # fmt: skip

# ------------------------------------------------------------------------------------- calls, states, items

_reconstructor = line_glob("copy_reg", "_reconstructor")
_object = line_glob("__builtin__", "object")
_line_linear = line_glob("sklearn.linear_model._base", "LinearRegression")
_state = mapping({"a": 1}) + put(0)
CALLS: Table = {
    "arguments-a-list": code(
        "SL318", "REDUCE with a list of arguments", PUTENV, value([VARIABLE, "ran"]), pickle.REDUCE),
    "arguments-a-dict": code(
        "SL318", "REDUCE with a dict, whose keys are the arguments",
        PUTENV, mapping([(VARIABLE, 1), ("ran", 1)]), pickle.REDUCE),
    "arguments-a-str": code(
        "SL318", "REDUCE with text, whose letters are the arguments", PUTENV, text("ab"), pickle.REDUCE),
    "new-of-a-function": form("SL405", "NEWOBJ of a function", new(PUTENV, VARIABLE, "ran")),
    "of-text": form("SL318", "REDUCE on text", text("x"), tup(), pickle.REDUCE),
    "of-a-result": form("SL318", "REDUCE on the result of a call", call(ODICT)),
    "of-an-instance": form("SL318", "REDUCE on an instance", call(new(LINEAR))),
    "of-a-partial": code(
        "SL318", "functools.partial of a function, then called", call(call(PARTIAL, PUTENV, VARIABLE, "ran"))),
    "of-a-lookup": code(
        "SL318", "pydoc.locate finds the function, which is then called",
        call(call(glob("pydoc", "locate"), "os.putenv"), VARIABLE, "ran")),
    "of-a-ufunc-by-name": code(
        "SL318", "numpy's _ufunc_reconstruct finds any function by name",
        call(call(glob("numpy.core", "_ufunc_reconstruct"), "os", "putenv"), VARIABLE, "ran")),
    "of-getattr": code(
        "SL318", "getattr on an imported module",
        call(call(glob("builtins", "getattr"), call(glob("importlib", "import_module"), "os"), "putenv"),
             VARIABLE, "ran")),
    "of-attrgetter": code(
        "SL318", "operator.attrgetter on an imported module",
        call(call(call(glob("operator", "attrgetter"), "putenv"), call(glob("importlib", "import_module"), "os")),
             VARIABLE, "ran")),
    "of-methodcaller": code(
        "SL318", "operator.methodcaller on an imported module",
        call(call(glob("operator", "methodcaller"), "putenv", VARIABLE, "ran"),
             call(glob("importlib", "import_module"), "os"))),
    "by-map": code(
        "SL402", "a list from builtins.map calls the function",
        call(glob("builtins", "list"), call(glob("builtins", "map"), UNSETENV, [VARIABLE]))),
    "by-randomstate": code(
        "SL403", "numpy's constructor of random states calls what it is given",
        call(glob("numpy.random._pickle", "__randomstate_ctor"), VARIABLE, UNSETENV)),
    "by-generator": code(
        "SL403", "numpy's constructor of generators calls what it is given",
        call(glob("numpy.random._pickle", "__generator_ctor"), VARIABLE, UNSETENV)),
    "by-reconstructor": Case(
        "SL318", "form", "_reconstructor with another base, whose __new__ and __init__ are called",
        old_stream(_reconstructor, tup(_line_linear, _line_linear, None), pickle.REDUCE)),
    "by-reconstructor-of-an-instance": Case(
        "SL318", "form", "_reconstructor of what is no class",
        old_stream(_reconstructor, tup(1, _object, None), pickle.REDUCE)),
    "by-reconstructor-of-what-is-not-allowed": Case(
        "SL405", "form", "_reconstructor of a class of posix",
        old_stream(_reconstructor, tup(line_glob("posix", "DirEntry"), _object, None), pickle.REDUCE)),
    "by-reconstructor-from-protocol-2": form(
        "SL318", "_reconstructor, where picklers write NEWOBJ",
        _reconstructor, tup(_line_linear, _object, None), pickle.REDUCE, version=2),
    "partial-in-a-state": form(
        "SL404", "functools.partial whose state names another function",
        build(call(PARTIAL, CHECK), (LOG, (), {}, None))),
    "defaultdict": form(
        "SL403", "a defaultdict that calls a function for every missing key",
        call(glob("collections", "defaultdict"), LOG)),
    "type-of-three": form("SL403", "a class made by type", call(glob("builtins", "type"), "x", (), {})),
    "newobj-list": form("SL318", "NEWOBJ with a list", LINEAR, value([]), pickle.NEWOBJ),
    "newobj-of-an-instance": form("SL318", "NEWOBJ on an instance", new(new(LINEAR))),
    "newobj-with-arguments": form("SL403", "NEWOBJ with arguments", new(LINEAR, 1)),
    "newobj-ex": form("SL403", "NEWOBJ_EX with keywords", LINEAR, tup(), mapping({"a": 1}), pickle.NEWOBJ_EX),
    "a-codec": form("SL318", "another codec than latin1", call(glob("_codecs", "encode"), "x", "utf-16")),
    "latin1-of-other-letters": form(
        "SL318", "text that latin1 does not have", call(glob("_codecs", "encode"), "\u0100", "latin1")),
    "bytes-of-a-number": exhaust("SL318", "bytes(2**40)", call(glob("builtins", "bytes"), 1 << 40)),
    "bytearray-of-a-number": exhaust("SL318", "bytearray(2**40)", call(glob("builtins", "bytearray"), 1 << 40)),
    "a-function-as-transformer": Case(
        "SL405", "names", "a transformer that will call eval on its input", stream(
            build(TRANSFORMER, {"func": glob("builtins", "eval")}))),
    "a-name-only-called": form("SL402", "what may only be named is called", call(LOG, 1.5)),
    "a-class-called": form("SL402", "what may only be made is called", call(LINEAR)),
}  # fmt: skip

STATES: Table = {
    "on-a-class": form("SL319", "BUILD changes a class for the whole process", build(LINEAR, {"fit": 1})),
    "on-a-class-from-the-memo": form(
        "SL319", "the same from the memo", LINEAR, put(0), get(0), mapping({"fit": 1}), pickle.BUILD, pickle.TUPLE2),
    "on-a-list": form("SL319", "BUILD on a list", build(value([]), {"a": 1})),
    "on-a-dict": form("SL319", "BUILD on a dict", build(mapping({}), {"a": 1})),
    "on-none": form("SL319", "BUILD on None", build(pickle.NONE, {"a": 1})),
    "on-bytes": form("SL319", "BUILD on bytes", build(raw(b"x"), {"a": 1})),
    "twice": form("SL319", "a state is set twice", build(build(new(LINEAR), {"a": 1}), {"a": 1})),
    "one-dict-for-two": form(
        "SL319", "one dict is the state of two objects",
        build(new(LINEAR), _state), build(new(LINEAR), get(0)), pickle.TUPLE2),
    "changes-afterwards": form(
        "SL320", "the state's dict changes afterwards",
        build(new(LINEAR), _state), get(0), setitem("a", None), pickle.TUPLE2),
    "dunder-class": form("SL404", "__class__ among the attributes", build(new(LINEAR), {"__class__": 1})),
    "planted-setstate": code(
        "SL319", "__setstate__ among an estimator's attributes, called by the next BUILD",
        build(build(new(LINEAR), {"__setstate__": UNSETENV}), VARIABLE)),
    "planted-setstate-as-an-item": form(
        "SL320", "__setstate__ set as an item of a Bunch, whose keys answer for attributes",
        build(BUNCH + setitem("__setstate__", UNSETENV), VARIABLE)),
    "attribute-no-str": form("SL404", "an attribute's name that is a number", build(new(LINEAR), mapping([(1, 1)]))),
    "attribute-twice": form("SL404", "an attribute twice", build(new(LINEAR), mapping([("a", 1), ("a", 2)]))),
    "slots": form("SL404", "a state of (None, slots)", build(new(LINEAR), (None, {"a": 1}))),
    "a-list": form("SL404", "a list for a state", build(new(LINEAR), [])),
    "an-ordered-dict": form("SL404", "an OrderedDict for a state", build(new(LINEAR), ODICT)),
    "a-repr-as-version": exhaust(
        "SL404", "scikit-learn formats the version into a warning: a repr of 2**60 steps",
        build(new(LINEAR), {"_sklearn_version": pickle.EMPTY_TUPLE + pickle.MEMOIZE + b"".join(
            get(i) + pickle.TUPLE2 + pickle.MEMOIZE for i in range(60))})),
    "a-folder-of-pickles": files(
        "SL404", "a pipeline whose memory is a folder that joblib unpickles from",
        build(new(glob("sklearn.pipeline", "Pipeline")), {"memory": "safeload-vector"})),
}  # fmt: skip

ITEMS: Table = {
    "append-to-a-tuple": form("SL320", "APPEND to a tuple", tup(), pickle.NONE, pickle.APPEND),
    "append-to-a-dict": form("SL320", "APPEND to a dict", mapping({}), pickle.NONE, pickle.APPEND),
    "append-to-a-bytearray": form(
        "SL320", "APPEND to a bytearray, which has that method",
        pickle.BYTEARRAY8 + bytes([1, 0, 0, 0, 0, 0, 0, 0]) + b"a", number(1), pickle.APPEND, version=5),
    "append-to-a-class": form("SL320", "APPEND to a class", LINEAR, pickle.NONE, pickle.APPEND),
    "append-to-an-array": form("SL320", "APPEND to an array", array(), pickle.NONE, pickle.APPEND),
    "append-to-an-estimator": form("SL402", "APPEND to an estimator", new(LINEAR), pickle.NONE, pickle.APPEND),
    "setitem-of-a-list": form("SL320", "SETITEM of a list", value([1]), number(0), pickle.NONE, pickle.SETITEM),
    "setitem-of-an-array": form("SL320", "SETITEM writes into an array", array(), number(0), number(0), pickle.SETITEM),
    "additems-to-a-list": form("SL320", "ADDITEMS to a list", value([]), pickle.MARK, pickle.NONE, pickle.ADDITEMS),
    "additems-to-a-frozenset": form(
        "SL320", "ADDITEMS to a frozenset", pickle.MARK, pickle.FROZENSET, pickle.MARK, pickle.NONE, pickle.ADDITEMS),
    "planted-append": code(
        "SL320", "a Bunch answers for attributes with its keys: APPEND calls its 'append'",
        BUNCH, setitem("append", UNSETENV), text(VARIABLE), pickle.APPEND),
    "planted-append-in-a-state": code(
        "SL320", "an 'append' among an estimator's attributes",
        build(new(LINEAR), {"append": UNSETENV}), text(VARIABLE), pickle.APPEND),
    "after-the-state": form(
        "SL320", "items after the state", build(BUNCH, {"append": 1}), setitem("a", None)),
}  # fmt: skip

KEYS: Table = {
    "deep-tuple": exhaust(
        "SL321", "a tuple nested 2,000 deep as a key, which is hashed recursively",
        pickle.EMPTY_DICT, pickle.NONE, pickle.TUPLE1 * 2000, number(1), pickle.SETITEM),
    "shared-tuple": exhaust(
        "SL321", "a tuple whose hash takes 2**60 steps",
        pickle.EMPTY_DICT, pickle.EMPTY_TUPLE + pickle.MEMOIZE
        + b"".join(get(i) + pickle.TUPLE2 + pickle.MEMOIZE for i in range(60)), number(1), pickle.SETITEM),
    "shared-tuple-in-a-set": exhaust(
        "SL321", "the same in a set", pickle.EMPTY_SET, pickle.MARK, pickle.EMPTY_TUPLE + pickle.MEMOIZE
        + b"".join(get(i) + pickle.TUPLE2 + pickle.MEMOIZE for i in range(60)), pickle.ADDITEMS),
    "deep-tuple-in-a-frozenset": exhaust(
        "SL321", "a deep tuple in a frozenset", pickle.MARK, pickle.NONE, pickle.TUPLE1 * 2000, pickle.FROZENSET),
    "colliding-integers": exhaust(
        "SL321", "integers that are all equal mod 2**61 - 1 have one hash",
        mapping([(((1 << 61) - 1) * i, 1) for i in range(8, 128)])),
    "colliding-integers-in-a-set": exhaust(
        "SL321", "the same in a set made by a call",
        call(line_glob("__builtin__", "set"), [((1 << 61) - 1) * i for i in range(8, 128)]), version=2),
    "wide-tuple": exhaust("SL321", "a tuple of 1,000 as a key", mapping([((1,) * 1000, 1)])),
    "tree-of-tuples": exhaust(
        "SL321", "tuples of 63 numbers and the next tuple", pickle.EMPTY_DICT,
        (pickle.MARK + number(1) * 63) * 40 + pickle.NONE + pickle.TUPLE * 40, number(1), pickle.SETITEM),
    "a-set": form("SL321", "a set as a key", mapping([(pickle.EMPTY_SET, 1)])),
    "a-bytearray": form(
        "SL321", "a bytearray as a key", mapping([(pickle.BYTEARRAY8 + bytes(8), 1)]), version=5),
    "a-list": form("SL321", "a list as a key", mapping([([], 1)])),
    "an-array": form("SL321", "an array as a key", mapping([(array(), 1)])),
}  # fmt: skip

# --------------------------------------------------------------------------------- spellings and protocols

_SPELLED: dict[str, tuple[str, bytes]] = {
    "int-with-a-base": ("INT in another base", b"I0x10\n"),
    "int-with-an-underscore": ("INT with an underscore", b"I1_0\n"),
    "int-with-a-blank": ("INT with a blank", b"I 1\n"),
    "int-with-a-plus": ("INT with a plus", b"I+1\n"),
    "int-with-a-zero": ("INT with a zero in front", b"I010\n"),
    "int-minus-zero": ("INT of minus zero", b"I-0\n"),
    "int-with-a-return": ("INT with a carriage return", b"I1\r\n"),
    "long-without-l": ("LONG without its L", b"L12\n"),
    "long-with-a-base": ("LONG in another base", b"L0x1L\n"),
    "float-with-a-blank": ("FLOAT with a blank", b"F 1.0\n"),
    "float-with-an-underscore": ("FLOAT with an underscore", b"F1_0.0\n"),
    "float-in-words": ("FLOAT infinity in words", b"Finfinity\n"),
    "get-with-a-blank": ("GET with a blank", b"Np0\ng 0\n"),
    "get-with-a-zero": ("GET with a zero in front", b"Np0\ng00\n"),
    "put-with-a-plus": ("PUT with a plus", b"Np+0\n"),
    "put-negative": ("PUT of a negative number", b"Np-1\n"),
}
TEXTS: Table = {name: Case("SL310", "form", trick, b"(" + data + b"t.") for name, (trick, data) in _SPELLED.items()}
TEXTS["name-from-an-odd-memo"] = Case(
    "SL310", "code", "the function comes from the memo, by a number that only int() reads",
    b"(cos\nputenv\np0\ng 0\n(VSAFELOAD_VECTOR\nVran\ntRt.",
)  # fmt: skip
TEXTS["name-from-an-escaped-text"] = Case(
    "SL405", "code", "arguments in raw-unicode-escape", b"cos\nputenv\n(V\\u0053AFELOAD_VECTOR\nV\\u0072an\ntR."
)
TEXTS["int-too-long"] = Case("SL508", "exhaustion", "INT of 9,000 digits", b"(I" + b"1" * 9000 + b"\nt.")
TEXTS["broken-escape"] = Case("SL322", "form", "UNICODE in a broken escape", b"(V\\u12\nt.")
TEXTS["not-utf-8"] = form("SL322", "text that is not UTF-8", pickle.BINUNICODE + b"\1\0\0\0\xff")

PROTOCOLS: Table = {
    "proto-in-the-middle": Case("SL309", "form", "PROTO in the middle", proto(4) + pickle.NONE + proto(2) + STOP),
    "proto-lowered": Case(
        "SL309", "names", "PROTO lowered, so that Python 2's names apply to what follows",
        proto(4) + proto(2) + call(line_glob("__builtin__", "eval"), "1+1") + STOP),
    "proto-raised": Case(
        "SL309", "code", "PROTO raised, so that dots are resolved",
        proto(2) + proto(4) + call(line_glob("joblib.numpy_pickle", "os.putenv"), VARIABLE, "ran") + STOP),
    "proto-twice": Case("SL309", "form", "PROTO twice", proto(4) + proto(4) + pickle.NONE + STOP),
    "proto-6": Case("SL309", "form", "protocol 6", proto(6) + pickle.NONE + STOP),
    "proto-1": Case("SL309", "code", "protocol 1, which never states itself", proto(1) + LINE_RUN + STOP),
    "proto-0": Case("SL309", "code", "protocol 0, which never states itself", proto(0) + TEXT_RUN + STOP),
    "proto-255": Case("SL309", "form", "protocol 255", proto(255) + pickle.NONE + STOP),
    "proto-late": Case("SL309", "code", "PROTO after the first opcode", b"(" + proto(4) + RUN + b"t."),
    "bytes-after-stop": Case("SL304", "form", "a byte after STOP", stream(pickle.NONE) + b"\0"),
    "second-pickle": Case(
        "SL304", "form", "a second pickle, which calls, after STOP", stream(pickle.NONE) + stream(RUN)),
    "call-then-a-second-pickle": Case(
        "SL304", "code", "a call, and a second pickle that is harmless", stream(RUN) + stream(pickle.NONE)),
    "nothing": Case("SL323", "form", "an empty file", b""),
    "not-a-pickle": Case("SL323", "form", "text that is no pickle", b"# a README\n"),
    "a-zip": Case("SL327", "form", "a zip file's first bytes", b"PK\3\4"),
    "no-stop": Case("SL301", "form", "no STOP", proto(4) + pickle.NONE),
    "no-stop-after-a-call": Case("SL301", "code", "a call and no STOP: it has run by then", proto(4) + RUN),
    "global-cut-after-the-name": Case(
        "SL301", "code", "GLOBAL, cut before the end of its line, imports all the same", proto(2) + b"cthis\nx"),
    "global-cut-after-the-module": Case("SL301", "form", "GLOBAL, cut after its module", proto(2) + b"cos\n"),
}  # fmt: skip

SIZES: Table = {
    "bytes-of-two-to-the-60": exhaust("SL507", "bytes of 2**60", pickle.BINBYTES8 + b"\0" * 7 + b"\x10"),
    "text-of-two-to-the-32": exhaust("SL507", "text of 2**32 - 1", pickle.BINUNICODE + b"\xff" * 4),
    "text-of-two-to-the-64": exhaust("SL507", "text of 2**64 - 1", pickle.BINUNICODE8 + b"\xff" * 8),
    "bytearray-of-two-to-the-63": exhaust(
        "SL507", "a bytearray of 2**63", pickle.BYTEARRAY8 + b"\0" * 7 + b"\x80", version=5),
    "bytearray-of-two-to-the-50": exhaust(
        "SL507", "a bytearray of 2**50, which is allocated first", pickle.BYTEARRAY8 + (1 << 50).to_bytes(8, "little"),
        version=5),
    "long-of-two-to-the-31": exhaust("SL508", "an integer of 2**31 bytes", pickle.LONG4 + b"\0\0\0\x80"),
    "long-of-2000-bytes": exhaust("SL508", "an integer of 2,000 bytes", pickle.LONG4 + b"\xd0\7\0\0" + b"\1" * 2000),
    "text-cut-off": form("SL507", "text that the file ends in", pickle.SHORT_BINUNICODE + b"\xff"),
}  # fmt: skip

TABLES: dict[str, Table] = {
    "name": NAMES,
    "stack-global": STACK_GLOBALS,
    "memo": MEMO,
    "opcode": OPCODES,
    "call": CALLS,
    "state": STATES,
    "item": ITEMS,
    "key": KEYS,
    "spelling": TEXTS,
    "protocol": PROTOCOLS,
    "size": SIZES,
}
