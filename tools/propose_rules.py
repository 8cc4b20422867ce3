"""Propose policy rules from really fitted models: which globals loading them names, and how each is used.

    python tools/propose_rules.py                              # fits scikit-learn's own estimators
    python tools/propose_rules.py MODEL.joblib ...             # artifacts that you trust
    python tools/propose_rules.py --missing-from sklearn       # only what that pack does not grant

THIS UNPICKLES what it is given: use it on artifacts that you made yourself, never to find out whether one is
safe.  It runs joblib's own NumpyUnpickler with each opcode that names, calls, makes or fills something watched.
What it prints is a proposal: every `reason` is empty, and is to be written by whoever has read the code that the
rule lets run.  Calls whose forms the scanner itself checks come out with `form = "numpy"`.
"""

from __future__ import annotations

import argparse
import io
import pickle
import sys
import tomllib
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import joblib
import numpy as np
from joblib.numpy_pickle import NumpyArrayWrapper, NumpyUnpickler

from safeload.policy._named import NamedPatterns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKS = Path(__file__).resolve().parent.parent / "policies"
# The scanner proves these itself, whatever a policy says; a rule only has to grant them.
FORMS = frozenset(
    {
        "numpy.dtype",
        "joblib.numpy_pickle.NumpyArrayWrapper",
        "numpy._core.multiarray._reconstruct",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy.core.multiarray.scalar",
        "numpy._core.numeric._frombuffer",
        "numpy.core.numeric._frombuffer",
        "numpy.ma.core._mareconstruct",
        "copyreg._reconstructor",
    }
)
# What is named as the array class in one of these forms, and not as a plain value.
IN_FORM: tuple[Any, ...] = ("in form",)
MAX_DEPTH = 4
MAX_ITEMS = 16
ROLES = ("import", "call", "new", "state", "items")

# ------------------------------------------------------------------------------------ what was seen

# A shape says what a value was, as a policy could constrain it: a kind, and what is inside.
Shape = tuple[Any, ...]


@dataclass(slots=True)
class Use:
    """How one global was used."""

    roles: set[str] = field(default_factory=set)
    args: set[str] = field(default_factory=set)
    states: set[str] = field(default_factory=set)
    seen_in: set[str] = field(default_factory=set)


class Recording:
    """All uses over many artifacts; with a `pack`, only those that it does not grant."""

    def __init__(self, pack: dict[str, list[dict[str, Any]]] | None = None) -> None:
        self.pack = pack
        self.uses: defaultdict[str, Use] = defaultdict(Use)
        self.artifact = ""

    def add(self, name: str, role: str, shape: Shape | None = None) -> None:
        """Note one use of a global, with its arguments or state."""
        if self.pack is not None and granted(self.pack.get(name, []), role, shape):
            return
        use = self.uses[name]
        use.roles.add(role)
        use.seen_in.add(self.artifact)
        if shape is None or name in FORMS:
            return
        if role in ("call", "new"):
            use.args.add("[" + ", ".join(pattern(part) for part in shape[1]) + "]")
        elif role == "state":
            use.states.add("attributes" if is_attributes(shape) else pattern(shape))


class RecordingUnpickler(NumpyUnpickler):  # type: ignore[misc]
    """joblib's unpickler, noting which globals it names and what it does with them."""

    dispatch = NumpyUnpickler.dispatch.copy()

    def __init__(self, file: IO[bytes], recording: Recording) -> None:
        options: dict[str, Any] = {}
        if "ensure_native_byte_order" in NumpyUnpickler.__init__.__code__.co_varnames:  # joblib >= 1.5
            options["ensure_native_byte_order"] = True
        super().__init__("", file, **options)
        self.recording = recording
        self.alive: list[Any] = []  # so that no id is used twice
        self.names: dict[int, str] = {}
        self.made_by: dict[int, str] = {}
        self.values: defaultdict[str, int] = defaultdict(int)

    def load(self) -> Any:
        """Unpickle, then note the globals that were used as plain values."""
        result = super().load()
        for name, count in self.values.items():
            if count:
                self.recording.add(name, "import")
        return result

    def find_class(self, module: str, name: str) -> Any:
        """Note a global under its Python 3 name."""
        found = super().find_class(module, name)
        if self.proto < 3:
            module, name = _python3_name(module, name)
        full = f"{module}.{name}"
        self.alive.append(found)
        self.names[id(found)] = full
        self.values[full] += 1
        return found

    def fetched(self) -> None:
        """Note that the memo gave a global once more."""
        if (name := self.names.get(id(self.stack[-1]))) is not None:
            self.values[name] += 1

    def made(self, function: Any, role: str, args: Any) -> None:
        """Note a call, whose result is now on top of the stack."""
        name = self.names.get(id(function), f"<{type(function).__name__}>")
        self.values[name] -= 1
        if name == "copyreg._reconstructor":
            self.recording.add(name, "call")
            name, role, args = self.names[id(args[0])], "new", () if args[1:] == (object, None) else args[1:]
            self.values[name] -= 1
            self.values["builtins.object"] -= not args
        elif name in FORMS:
            for part in args:
                self.named_in_form(part)
        self.recording.add(name, role, ("tuple", tuple(self.shape(part) for part in args)))
        self.alive.append(self.stack[-1])
        if not isinstance(self.stack[-1], (str, bytes, int, float, type(None))):
            self.made_by[id(self.stack[-1])] = name

    def named_in_form(self, value: Any) -> None:
        """Note a class that is named only where numpy or joblib themselves name it."""
        if (name := self.names.get(id(value))) is not None:
            self.values[name] -= 1
            self.recording.add(name, "import", IN_FORM)

    def filled(self, target: Any) -> None:
        """Note that items were added to what is not a plain container."""
        if type(target) not in (list, dict, set, bytearray):
            self.recording.add(self.made_by.get(id(target), f"<{type(target).__name__}>"), "items")

    def built(self, target: Any, state: Any) -> None:
        """Note that a state is about to be set."""
        if isinstance(target, NumpyArrayWrapper):
            self.named_in_form(state["subclass"])
        name = self.made_by.get(id(target), f"<{type(target).__name__}>")
        self.recording.add(name, "state", self.shape(state))

    def nested(self) -> Any:
        """Read an array of objects, which joblib writes as a pickle of its own, with the same recording."""
        inner = RecordingUnpickler(self.file_handle, self.recording)
        return inner.load()

    def shape(self, value: Any, depth: int = 0) -> Shape:
        """Return what `value` is, as a policy could constrain it."""
        if value is None or type(value) in (bool, int, str, bytes):
            return ("scalar", value)
        if id(value) in self.names:
            return ("global", self.names[id(value)])
        if type(value) is float or type(value) is bytearray:
            return (type(value).__name__,)
        if isinstance(value, np.ndarray):
            return ("array",)
        if isinstance(value, np.dtype):
            return ("dtype",)
        if depth >= MAX_DEPTH and isinstance(value, (tuple, list, dict, set)):
            return ("deep", type(value).__name__)
        if type(value) in (tuple, list, set):
            parts: Any = [self.shape(part, depth + 1) for part in value]
            if type(value) is not tuple or len(parts) > MAX_ITEMS:
                parts = dict.fromkeys(parts)  # of many alike, one will do
            return (type(value).__name__, tuple(parts))
        if type(value) is dict:
            pairs = [(self.shape(key, depth + 1), self.shape(one, depth + 1)) for key, one in value.items()]
            return ("dict", tuple(dict.fromkeys(pairs)))
        return ("instance", self.made_by.get(id(value), f"<{type(value).__name__}>"))


def _python3_name(module: str, name: str) -> tuple[str, str]:
    import _compat_pickle

    if (module, name) in _compat_pickle.NAME_MAPPING:
        return _compat_pickle.NAME_MAPPING[module, name]
    return _compat_pickle.IMPORT_MAPPING.get(module, module), name


def _watch(opcode: bytes, before: Callable[[Any], Any], after: Callable[[Any, Any], None]) -> None:
    original = NumpyUnpickler.dispatch[opcode[0]]

    def watched(unpickler: Any) -> None:
        seen = before(unpickler)
        original(unpickler)
        after(unpickler, seen)

    RecordingUnpickler.dispatch[opcode[0]] = watched


def _load_build(unpickler: Any) -> None:
    target, state = unpickler.stack[-2], unpickler.stack[-1]
    unpickler.built(target, state)
    if isinstance(target, NumpyArrayWrapper) and state["dtype"].hasobject:
        unpickler.stack[-2:] = [unpickler.nested()]
    else:
        NumpyUnpickler.dispatch[pickle.BUILD[0]](unpickler)


def _nothing(*_: object) -> None:
    """Nothing to note on this side."""


def _watch_all() -> None:
    for opcode in (pickle.GET, pickle.BINGET, pickle.LONG_BINGET):
        _watch(opcode, _nothing, lambda unpickler, _: unpickler.fetched())
    _watch(
        pickle.REDUCE,
        lambda unpickler: tuple(unpickler.stack[-2:]),
        lambda unpickler, seen: unpickler.made(seen[0], "call", seen[1]),
    )
    _watch(
        pickle.NEWOBJ,
        lambda unpickler: tuple(unpickler.stack[-2:]),
        lambda unpickler, seen: unpickler.made(seen[0], "new", seen[1]),
    )
    _watch(
        pickle.NEWOBJ_EX,
        lambda unpickler: tuple(unpickler.stack[-3:]),
        lambda unpickler, seen: unpickler.made(seen[0], "new", (*seen[1], seen[2])),
    )
    for opcode in (pickle.APPENDS, pickle.SETITEMS, pickle.ADDITEMS):
        _watch(opcode, lambda unpickler: unpickler.metastack[-1][-1], lambda unpickler, seen: unpickler.filled(seen))
    _watch(pickle.APPEND, lambda unpickler: unpickler.stack[-2], lambda unpickler, seen: unpickler.filled(seen))
    _watch(pickle.SETITEM, lambda unpickler: unpickler.stack[-3], lambda unpickler, seen: unpickler.filled(seen))
    RecordingUnpickler.dispatch[pickle.BUILD[0]] = _load_build


_watch_all()

# ------------------------------------------------------------------------------------------ patterns


def is_attributes(shape: Shape) -> bool:
    """Tell whether a shape is a dict of attributes, as BUILD sets them."""
    return shape[0] == "dict" and all(
        key[0] == "scalar" and isinstance(key[1], str) and not key[1].startswith("__") for key, _ in shape[1]
    )


def pattern(shape: Shape) -> str:
    """Write a shape as a pattern of the policy format, not narrower than a reviewer would."""
    kind = shape[0]
    if kind == "scalar":
        return '"none"' if shape[1] is None else f'"{type(shape[1]).__name__}"'
    if kind in ("global", "instance"):
        return f'{{ {kind} = ["{shape[1]}"] }}'
    if kind in ("list", "set"):
        parts = sorted({pattern(part) for part in shape[1]})
        return f"{{ {kind}_of = {_any_of(parts)} }}" if parts else f'"{kind}"'
    if kind == "tuple":
        return "{ tuple = [" + ", ".join(pattern(part) for part in shape[1]) + "] }"
    if kind == "dict" and shape[1]:
        keys = _any_of(sorted({pattern(key) for key, _ in shape[1]}))
        values = _any_of(sorted({pattern(value) for _, value in shape[1]}))
        return f"{{ dict_of = [{keys}, {values}] }}"
    return f'"{shape[1] if kind == "deep" else kind}"'


def _any_of(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else "{ any_of = [" + ", ".join(parts) + "] }"


def granted(rules: list[dict[str, Any]], role: str, shape: Shape | None) -> bool:
    """Tell whether any of a global's rules grants this use."""
    for rule in rules:
        if role not in rule.get("roles", ["import"]):
            continue
        if role == "import":
            if shape == IN_FORM or rule.get("form") is None:
                return True
            continue
        if shape is None or role == "items" or rule.get("form") is not None:
            return True
        if role == "state":
            if matches(rule.get("state", "attributes"), shape):
                return True
            continue
        alternatives = rule.get("args", [[]] if role == "new" else [])
        if any(matches({"tuple": alternative}, shape) for alternative in alternatives):
            return True
    return False


def matches(wanted: Any, shape: Shape) -> bool:
    """Tell whether a value of this shape fits a pattern."""
    if isinstance(wanted, str):
        return _matches_name(wanted, shape)
    (key, inner), kind = next(iter(wanted.items())), shape[0]
    if key == "any_of":
        return any(matches(one, shape) for one in inner)
    if key == "literal":
        return kind == "scalar" and any(type(one) is type(shape[1]) and one == shape[1] for one in inner)
    if key == "int":
        return kind == "scalar" and type(shape[1]) is int and bool(inner[0] <= shape[1] <= inner[1])
    if key == "bytes":
        return kind == "scalar" and isinstance(shape[1], bytes) and bool(len(shape[1]) == inner)
    if key in ("global", "instance", "built"):
        return bool(kind == ("global" if key == "global" else "instance") and shape[1] in inner)
    if key == "tuple":
        return kind == "tuple" and len(shape[1]) == len(inner) and all(map(matches, inner, shape[1]))
    if key in ("list_of", "tuple_of", "set_of"):
        return kind == key[:-3] and all(matches(inner, part) for part in shape[1])
    if key == "dict_of":
        return kind == "dict" and all(matches(inner[0], name) and matches(inner[1], one) for name, one in shape[1])
    if key == "only":
        return kind == "dict" and all(
            name[0] == "scalar" and name[1] in inner and matches(inner[name[1]], value) for name, value in shape[1]
        )
    if key == "attributes":
        return is_attributes(shape) and all(
            matches(inner[name[1]], value) for name, value in shape[1] if name[1] in inner
        )
    raise ValueError(f"unknown pattern {wanted!r}")


_UNIONS: dict[str, tuple[str, ...]] = {
    "number": ("bool", "int", "float"),
    "scalar": ("none", "bool", "int", "float", "str", "bytes"),
}
_KINDS = ("float", "bytearray", "list", "tuple", "dict", "set", "array", "dtype")


def _matches_name(wanted: str, shape: Shape) -> bool:
    kind = shape[0]
    if wanted == "any":
        return bool(kind != "global")
    if wanted in _UNIONS:
        return any(_matches_name(one, shape) for one in _UNIONS[wanted])
    if wanted == "attributes":
        return is_attributes(shape)
    if wanted == "slots":
        return kind == "tuple" and len(shape[1]) == 2 and is_attributes(shape[1][1])
    if wanted in _KINDS:
        return kind == wanted or shape == ("deep", wanted)
    if wanted == "none":
        return shape == ("scalar", None)
    if wanted in ("bool", "int", "str", "bytes"):
        return kind == "scalar" and type(shape[1]).__name__ == wanted
    raise ValueError(f"unknown pattern {wanted!r}")


def read_pack(name: str) -> dict[str, list[dict[str, Any]]]:
    """Read a policy file and those it extends: the rules of each global by its full name."""
    path = Path(name) if name.endswith(".toml") else PACKS / f"{name}.toml"
    with path.open("rb") as file:
        policy = tomllib.load(file)
    rules: dict[str, list[dict[str, Any]]] = {}
    for base in policy.get("extends", []):
        beside = path.parent / base
        rules.update(read_pack(str(beside) if base.endswith(".toml") else base))
    named = NamedPatterns(policy.get("patterns", {}))
    for rule in policy.get("allow", []):
        rule.update({key: named.resolve(rule[key]) for key in ("args", "state") if key in rule})
        for one in rule["names"]:
            rules.setdefault(f"{rule['module']}.{one}", []).append(rule)
    return rules


# -------------------------------------------------------------------------------------------- output


def as_toml(uses: dict[str, Use], *, where: bool) -> str:
    """Write the rules, grouped by module and by what they grant."""
    groups: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for full, use in uses.items():
        module, _, name = full.rpartition(".")
        groups[module, _body(full, use)].append(name)
    blocks = []
    for (module, body), names in sorted(groups.items()):
        listed = ", ".join(f'"{name}"' for name in sorted(names))
        block = f'[[allow]]\nmodule = "{module}"\nnames = [{listed}]\n{body}reason = ""\n'
        if where:
            seen = sorted(set().union(*(uses[f"{module}.{name}"].seen_in for name in names)))
            block += f"# in {', '.join(seen[:4])}{' …' if len(seen) > 4 else ''}\n"
        blocks.append(block)
    return "\n".join(blocks)


def _body(full: str, use: Use) -> str:
    roles = ", ".join(f'"{role}"' for role in ROLES if role in use.roles)
    body = f"roles = [{roles}]\n"
    if full in FORMS:
        return body + 'form = "numpy"\n'
    if (use.args and use.args != {"[]"}) or "call" in use.roles:
        body += "args = [" + ", ".join(sorted(use.args)) + "]\n"
    if use.states and use.states != {"attributes"}:
        states = sorted(state if state.startswith(("{", '"')) else f'"{state}"' for state in use.states)
        body += f"state = {_any_of(states)}\n"
    return body


# --------------------------------------------------------------------------------------------- input

_OPENERS: dict[bytes, str] = {
    b"\x1f\x8b": "gzip",
    b"BZ": "bz2",
    b"\xfd7zXZ": "lzma",
    b"]\x00": "lzma",
    b"\x04\x22\x4d\x18": "lz4.frame",
}


def open_trusted(path: Path) -> IO[bytes]:
    """Open an artifact that is trusted, unpacking it if joblib packed it."""
    data = path.read_bytes()
    for prefix, module in _OPENERS.items():
        if data.startswith(prefix):
            return io.BytesIO(__import__(module, fromlist=["decompress"]).decompress(data))
    if data[:1] == b"x":
        import zlib

        return io.BytesIO(zlib.decompress(data))
    return io.BytesIO(data)


def written_forms(model: object, protocols: list[int]) -> Iterator[IO[bytes]]:
    """Write a model as joblib does and as pickle does, in each protocol."""
    for protocol in protocols:
        file = io.BytesIO()
        joblib.dump(model, file, protocol=protocol)
        file.seek(0)
        yield file
        yield io.BytesIO(pickle.dumps(model, protocol=protocol))


def main(arguments: list[str] | None = None) -> int:
    """Record and print; return 1 where a pack was given and something is missing from it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, help="artifacts to unpickle: TRUSTED ONES ONLY")
    parser.add_argument("--missing-from", metavar="PACK", help="a pack's name or a path.toml; show what it lacks")
    parser.add_argument("--only", metavar="TEXT", default="", help="fit only models whose name contains TEXT")
    parser.add_argument(
        "--protocols",
        metavar="N",
        nargs="+",
        type=int,
        default=[2, 4, 5],
        help="pickle protocols to write fitted models in (2 4 5; below 2, subclasses of dict and tuple need a base)",
    )
    parser.add_argument("--where", action="store_true", help="say in which models each rule was needed")
    options = parser.parse_args(arguments)
    recording = Recording(read_pack(options.missing_from) if options.missing_from else None)
    warnings.simplefilter("ignore")
    count = 0
    for name, source in _sources(options):
        recording.artifact = name
        RecordingUnpickler(source, recording).load()
        count += 1
    print(as_toml(recording.uses, where=options.where or bool(options.missing_from)))
    print(f"# {count} artifacts, {len(recording.uses)} globals", file=sys.stderr)
    return 1 if options.missing_from and recording.uses else 0


def _sources(options: argparse.Namespace) -> Iterator[tuple[str, IO[bytes]]]:
    if options.paths:
        for path in options.paths:
            yield str(path), open_trusted(path)
        return
    from stock_models import stock_models

    for name, model in stock_models(options.only):
        for file in written_forms(model, options.protocols):
            yield name, file


if __name__ == "__main__":
    sys.exit(main())
