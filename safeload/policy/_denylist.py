"""The denylist: what no policy can allow, because naming it is enough to run code or to reach outside.

It stands above every policy file.  It is not what keeps artifacts safe (the allowlist is): it keeps a reviewer
from granting, under time pressure, what amounts to granting everything.
"""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["denied_reason", "is_confined"]

_RUNS = "it runs code or commands"
_IMPORTS = "it imports what it is given the name of"
_UNPICKLES = "it unpickles what it is given"
_FILES = "it opens, writes or deletes files"
_NETWORK = "it opens connections"
_REACHES = "it reaches from an object to the interpreter behind it"
_MEMORY = "it reads and writes memory directly"
_PROCESS = "it changes the process"

# A module here stands for all that is below it.
_MODULES: dict[str, str] = {
    **dict.fromkeys(
        (
            "os", "posix", "nt", "subprocess", "_posixsubprocess", "pty", "commands", "popen2", "platform",
            "runpy", "code", "codeop", "timeit", "trace", "profile", "cProfile", "pdb", "bdb", "doctest", "unittest",
            "idlelib", "lib2to3", "distutils", "setuptools", "pip", "ensurepip", "venv", "webbrowser", "antigravity",
            "multiprocessing", "concurrent", "asyncio", "threading", "_thread", "sched", "cmd", "rlcompleter",
            "pydoc", "numpy.f2py", "numpy.distutils", "numpy.testing", "torch.hub", "IPython", "nose", "pytest",
        ),
        _RUNS,
    ),
    **dict.fromkeys(
        ("importlib", "_frozen_importlib", "imp", "pkgutil", "zipimport", "pkg_resources", "site"), _IMPORTS
    ),
    **dict.fromkeys(
        ("pickle", "_pickle", "cPickle", "pickletools", "marshal", "shelve", "dill", "cloudpickle", "skops", "yaml"),
        _UNPICKLES,
    ),
    **dict.fromkeys(
        ("shutil", "tempfile", "io", "_io", "fileinput", "glob", "linecache", "zipfile", "tarfile", "sqlite3", "dbm",
         "mmap", "mailbox", "logging"),
        _FILES,
    ),
    **dict.fromkeys(
        ("socket", "_socket", "ssl", "urllib", "http", "ftplib", "smtplib", "poplib", "imaplib", "nntplib", "telnetlib",
         "xmlrpc", "socketserver", "requests", "httpx", "aiohttp", "boto3", "fsspec"),
        _NETWORK,
    ),
    **dict.fromkeys(
        ("inspect", "gc", "ast", "dis", "operator", "_operator", "weakref", "traceback", "tokenize"), _REACHES
    ),
    **dict.fromkeys(("ctypes", "_ctypes", "cffi", "_cffi_backend"), _MEMORY),
    "__main__": "it is another program in every process: move the class into a module that can be imported",
    **dict.fromkeys(("sys", "signal", "atexit", "faulthandler", "resource", "warnings"), _PROCESS),
}  # fmt: skip

_NAMES: dict[str, str] = {
    **dict.fromkeys(
        ("builtins.eval", "builtins.exec", "builtins.compile", "builtins.breakpoint", "builtins.input",
         "builtins.help", "builtins.map", "builtins.filter", "functools.reduce", "types.FunctionType",
         "types.CodeType", "types.MethodType", "types.LambdaType", "code.InteractiveInterpreter"),
        _RUNS,
    ),
    **dict.fromkeys(
        ("polars.expr.expr.Expr", "polars.lazyframe.frame.LazyFrame", "polars.Expr", "polars.LazyFrame"),
        "its state unpickles and runs Python functions (cloudpickle) inside the bytes that are read by Rust",
    ),
    **dict.fromkeys(
        ("statsmodels.base.data.ModelData", "statsmodels.base.data.PandasData", "statsmodels.base.data.PatsyData",
         "statsmodels.formula.formulatools.handle_formula_data",
         "patsy.design_info.DesignInfo", "patsy.eval.EvalEnvironment"),
        "its state can hold a formula, which is evaluated as Python code when it is unpickled or predicts",
    ),
    **dict.fromkeys(("builtins.__import__", "test.support.import_helper.import_module"), _IMPORTS),
    **dict.fromkeys(
        ("joblib.load", "joblib.numpy_pickle.load", "joblib.numpy_pickle.NumpyUnpickler",
         "joblib.numpy_pickle_compat.load_compatibility", "numpy.load", "numpy.lib.npyio.load",
         "pandas.read_pickle", "pandas.io.pickle.read_pickle", "torch.load", "numpy.lib.format.read_array"),
        _UNPICKLES,
    ),
    **dict.fromkeys(
        ("builtins.open", "numpy.fromfile", "numpy.save", "numpy.savez", "numpy.savetxt", "numpy.loadtxt",
         "numpy.genfromtxt", "numpy.DataSource", "numpy.lib._datasource.DataSource", "numpy.lib.npyio.DataSource",
         "joblib.dump", "joblib.numpy_pickle.dump", "joblib.numpy_pickle.NDArrayWrapper",
         "joblib.numpy_pickle.ZNDArrayWrapper", "joblib.numpy_pickle_compat.NDArrayWrapper",
         "joblib.numpy_pickle_compat.ZNDArrayWrapper"),
        _FILES,
    ),
    **dict.fromkeys(
        ("builtins.setattr", "builtins.delattr", "builtins.vars", "builtins.globals",
         "builtins.locals", "builtins.super", "builtins.property", "builtins.classmethod", "builtins.staticmethod",
         "numpy.core._ufunc_reconstruct", "numpy._core._ufunc_reconstruct"),
        _REACHES,
    ),
    **dict.fromkeys(("builtins.memoryview", "numpy.frombuffer", "numpy.core.multiarray.frombuffer"), _MEMORY),
    **dict.fromkeys(("builtins.exit", "builtins.quit"), _PROCESS),
    "builtins.getattr": f"{_REACHES}, unless args ties it to listed methods of listed classes",
}  # fmt: skip


def denied_reason(name: str) -> str | None:
    """Say why no policy may allow the global `module.qualname`; None where a policy may."""
    return _NAMES.get(name) or _module_reason(name.rpartition(".")[0])


@functools.lru_cache(maxsize=512)  # a rule asks for many names of one module
def _module_reason(module: str) -> str | None:
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        reason = _MODULES.get(".".join(parts[:end]))
        if reason is not None:
            return reason
    return None


# The one class whose own methods may be taken, and those that read more than their arguments' text.
_TEXT = "builtins.str"
_NOT_OF_TEXT = frozenset({"format", "format_map", "mro"})


def is_confined(name: str, rule: dict[str, Any]) -> bool:
    """Tell whether a rule for a name on the denylist is of the one form in which it does no harm.

    That is for `getattr` alone, which is how pickle writes a bound method: called with an instance of a listed class
    and a name from a list, so that no other attribute can be reached.
    """
    args = rule.get("args")
    return (
        name == "builtins.getattr"
        and rule.get("roles") == ["call"]
        and isinstance(args, list)
        and all(isinstance(one, list) and len(one) == 2 and _is_listed_method(*one) for one in args)
    )


def _is_listed_method(owner: Any, method: Any) -> bool:
    if not isinstance(owner, dict) or not isinstance(method, dict) or len(owner) != 1 or list(method) != ["literal"]:
        return False
    (kind, owners), *_ = owner.items()
    names = method["literal"]
    if not isinstance(owners, list) or not isinstance(names, list):
        return False
    if not all(isinstance(one, str) and not one.startswith("__") for one in names):
        return False
    if kind == "global":
        return owners == [_TEXT] and not _NOT_OF_TEXT.intersection(names)
    return kind == "instance" and all(isinstance(one, str) and denied_reason(one) is None for one in owners)
