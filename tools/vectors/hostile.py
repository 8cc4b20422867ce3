"""The refused vectors, as tables: category, name, expected code, threat, the trick, the bytes.

Whatever a vector calls is harmless: `os.putenv` and `os.unsetenv` of SAFELOAD_VECTOR, `print`, `eval` of "1+1".  They
stand for what an attacker would call instead; scanners that go by names know `os`, and each raises an audit event, by
which the tests see that a vector with the threat "code" does run when joblib loads it.
"""

from __future__ import annotations

import pickle
from typing import NamedTuple

from pickles.opcodes import (
    STOP,
    build,
    call,
    frame,
    glob,
    line_glob,
    mapping,
    new,
    padded,
    proto,
    raw,
    stream,
    value,
    wrapper,
)

VARIABLE = "SAFELOAD_VECTOR"
PUTENV = glob("os", "putenv")
UNSETENV = glob("os", "unsetenv")
RUN = call(PUTENV, VARIABLE, "ran")
LINE_RUN = call(line_glob("os", "putenv"), VARIABLE, "ran")
TEXT_RUN = b"cos\nputenv\n(VSAFELOAD_VECTOR\nVran\ntR"
LINEAR = glob("sklearn.linear_model._base", "LinearRegression")
BUNCH = new(glob("sklearn.utils._bunch", "Bunch"))
TRANSFORMER = new(glob("sklearn.preprocessing._function_transformer", "FunctionTransformer"))
ODICT = call(glob("collections", "OrderedDict"))
LOG = glob("numpy", "log1p")
CHECK = glob("sklearn.utils.validation", "check_array")
PARTIAL = glob("functools", "partial")
FLOATS = bytes(16)  # the array of `wrapper()`
PLAIN = wrapper(numpy_array_alignment_bytes=None)  # an array without padding follows


class Case(NamedTuple):
    """One refused vector: what safeload says first, what loading it would do, the trick, the file."""

    code: str
    threat: str
    trick: str
    data: bytes


Table = dict[str, Case]


def code(finding: str, trick: str, *parts: bytes, version: int = 4) -> Case:
    """Loading runs what the file says."""
    return Case(finding, "code", trick, stream(*parts, version=version))


def form(finding: str, trick: str, *parts: bytes, version: int = 4) -> Case:
    """Loading does nothing bad by itself; no pickler writes it, and readers disagree about it."""
    return Case(finding, "form", trick, stream(*parts, version=version))


def memory(finding: str, trick: str, *parts: bytes, version: int = 4) -> Case:
    """Loading or using it reads or writes memory that is not the array's."""
    return Case(finding, "memory", trick, stream(*parts, version=version))


def exhaust(finding: str, trick: str, *parts: bytes, version: int = 4) -> Case:
    """Loading takes unbounded time, memory or stack."""
    return Case(finding, "exhaustion", trick, stream(*parts, version=version))


def files(finding: str, trick: str, *parts: bytes, version: int = 4) -> Case:
    """Loading or using it opens a file that the pickle names."""
    return Case(finding, "files", trick, stream(*parts, version=version))


def then(*parts: bytes) -> bytes:
    """One object out of several, in a tuple."""
    return pickle.MARK + b"".join(parts) + pickle.TUPLE


def setitem(key: object, item: object) -> bytes:
    return value(key) + value(item) + pickle.SETITEM


def with_array(before: bytes, after: bytes = b"", data: bytes = FLOATS, *, version: int = 4) -> bytes:
    """A wrapper, its padded array, and what comes after."""
    return padded(proto(version) + before, data) + after + STOP


# ------------------------------------------------------------------------------------ plain payloads, by name

_CALLS: dict[str, tuple[str, bytes]] = {
    "os-putenv": ("SL405", RUN),
    "posix-putenv": ("SL405", call(glob("posix", "putenv"), VARIABLE, "ran")),
    "builtins-print": ("SL401", call(glob("builtins", "print"), "a safeload vector ran")),
    "builtins-eval": ("SL405", call(glob("builtins", "eval"), "1+1")),
    "builtins-exec": ("SL405", call(glob("builtins", "exec"), "pass")),
    "builtins-compile": ("SL405", call(glob("builtins", "compile"), "1", "vector", "eval")),
    "builtins-import": ("SL308", call(glob("builtins", "__import__"), "this")),
    "builtins-open": ("SL405", call(glob("builtins", "open"), "/dev/null")),
    "builtins-getattr": ("SL403", call(glob("builtins", "getattr"), "x", "upper")),
    "importlib-import-module": ("SL405", call(glob("importlib", "import_module"), "this")),
    "runpy-run-module": ("SL405", call(glob("runpy", "run_module"), "this")),
    "subprocess-list2cmdline": ("SL405", call(glob("subprocess", "list2cmdline"), ["x"])),
    "socket-htons": ("SL405", call(glob("socket", "htons"), 1)),
    "timeit-timeit": ("SL405", call(glob("timeit", "timeit"), "pass", "pass", glob("time", "perf_counter"), 1)),
    "pickle-loads": ("SL405", call(glob("pickle", "loads"), raw(b"N."))),
    "underscore-pickle-loads": ("SL405", call(glob("_pickle", "loads"), raw(b"cos\ngetpid\n."))),
    "marshal-loads": ("SL405", call(glob("marshal", "loads"), raw(b"N"))),
    "ctypes-sizeof": ("SL405", call(glob("ctypes", "c_int"), 1)),
    "sys-intern": ("SL405", call(glob("sys", "intern"), "x")),
    "shutil-which": ("SL405", call(glob("shutil", "which"), "x")),
    "tempfile-gettempdir": ("SL405", call(glob("tempfile", "gettempdir"))),
    "pydoc-locate": ("SL405", call(glob("pydoc", "locate"), "os.getpid")),
    "numpy-fromfile": ("SL405", call(glob("numpy", "fromfile"), "/dev/null")),
    "numpy-load": ("SL405", call(glob("numpy", "load"), "/dev/null")),
    "numpy-runstring": ("SL405", call(glob("numpy.testing._private.utils", "runstring"), "pass", {})),
    "joblib-load": ("SL405", call(glob("joblib", "load"), "/dev/null")),
    "webbrowser-get": ("SL405", call(glob("webbrowser", "get"), "none")),
    "platform-node": ("SL405", call(glob("platform", "node"))),
    "code-compile-command": ("SL405", call(glob("code", "compile_command"), "1")),
    "threading-get-ident": ("SL405", call(glob("threading", "get_ident"))),
    "cprofile-run": ("SL405", call(glob("cProfile", "run"), "pass")),
    "functools-reduce": ("SL405", call(glob("functools", "reduce"), glob("operator", "add"), [1, 2])),
    "urllib-quote": ("SL405", call(glob("urllib.parse", "quote"), "x")),
    "a-module-nobody-knows": ("SL401", call(glob("acme.features", "make"), 1)),
    "a-class-of-ones-own": ("SL401", build(new(glob("acme.features", "Clipper")), {"low": 1.0})),
}
PAYLOADS: Table = {
    name: Case(
        finding,
        "form" if name.startswith("a-") else "names",
        f"a plain call, hidden by nothing: {name.replace('-', ' ')}",
        stream(data),
    )
    for name, (finding, data) in _CALLS.items()
}
PAYLOADS["os-putenv"] = PAYLOADS["os-putenv"]._replace(threat="code")
PAYLOADS["posix-putenv"] = PAYLOADS["posix-putenv"]._replace(threat="code")
for _version in (2, 3):
    PAYLOADS[f"protocol-{_version}"] = code("SL405", f"the same in protocol {_version}", LINE_RUN, version=_version)
PAYLOADS["protocol-0"] = Case("SL405", "code", "the same in protocol 0, text only", TEXT_RUN + STOP)
PAYLOADS["protocol-1"] = Case("SL405", "code", "the same in protocol 1, binary without PROTO", LINE_RUN + STOP)
PAYLOADS["protocol-5"] = code("SL405", "the same in protocol 5", RUN, version=5)
PAYLOADS["in-a-frame"] = Case("SL405", "code", "the same in a frame", proto(4) + frame(RUN + STOP))
PAYLOADS["in-a-state"] = code("SL405", "among the attributes of an estimator", build(new(LINEAR), {"coef_": RUN}))
PAYLOADS["in-a-key"] = code("SL405", "as a key of a dict", mapping([(RUN, 1)]))
PAYLOADS["named-only"] = form("SL405", "only named, never called: naming imports", PUTENV)

TABLES: dict[str, Table] = {"payload": PAYLOADS}
