"""Policy files: what is an error in one, what each pattern matches, how policies add up."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from pickles.opcodes import (
    FROMBUFFER,
    array,
    build,
    call,
    codes,
    dtype,
    get,
    glob,
    mapping,
    new,
    number,
    put,
    raw,
    real,
    scan,
    stream,
    text,
    tup,
    value,
)
from safeload._scan import Limits
from safeload.errors import PolicyFileError
from safeload.policy import Policy, denied_reason, pack_names, resolve_policy

HEAD = 'name = "acme"\nversion = 1\n'
CORE = HEAD + 'extends = ["core"]\n'
RULE = '[[allow]]\nmodule = "acme.features"\nnames = ["Encoder"]\n'


def policy(folder: Path, content: str, name: str = "policy.toml") -> Policy:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return Policy.load(path)


# ------------------------------------------------------------------------------------------------- errors

BAD: dict[str, tuple[str, int | None, str]] = {
    "not TOML": ("name == 1\n", 1, "not valid TOML"),
    "nested for ever": (HEAD + "x = " + "[" * 100_000, None, "not valid TOML"),
    "nothing": ("", None, "name must be a printable text"),
    "no name": ("version = 1\n" + RULE, None, "name must be a printable text"),
    "a name that is no text": ("name = 1\nversion = 1\n" + RULE, 1, "name must be a printable text"),
    "an empty name": ('name = ""\nversion = 1\n' + RULE, None, "name must be a printable text"),
    "a name with an escape": ('name = "\\u001b[2J"\nversion = 1\n' + RULE, None, "name must be a printable text"),
    "no version": ('name = "acme"\n' + RULE, None, "version = 1"),
    "another version": ('name = "acme"\nversion = 2\n' + RULE, 2, "version = 1"),
    "a version that is a bool": ('name = "acme"\nversion = true\n' + RULE, None, "version = 1"),
    "an unknown key": (HEAD + "trusted = true\n" + RULE, 3, "unknown key 'trusted'"),
    "an unknown table": (HEAD + RULE + '[[deny]]\nmodule = "os"\n', 6, "unknown key 'deny'"),
    "nothing in it": (HEAD, None, "would refuse every artifact"),
    "allow that is a table": (HEAD + "[allow]\nmodule = 1\n", None, "[[allow]]"),
    "allow that is a list": (HEAD + "allow = [1]\n", None, "[[allow]]"),
    "an unknown key in a rule": (HEAD + RULE + "role = ['new']\n", 3, "unknown key 'role'"),
    "no module": (HEAD + '[[allow]]\nnames = ["x"]\n', 3, "module must be"),
    "no names": (HEAD + '[[allow]]\nmodule = "acme"\n', 3, "names must be a list"),
    "empty names": (HEAD + '[[allow]]\nmodule = "acme"\nnames = []\n', 3, "names must be a list"),
    "names that are no list": (HEAD + '[[allow]]\nmodule = "acme"\nnames = "x"\n', 3, "names must be a list"),
    "a name that is no text ": (HEAD + '[[allow]]\nmodule = "acme"\nnames = [1]\n', 3, "plain name"),
    "a name twice": (HEAD + '[[allow]]\nmodule = "acme"\nnames = ["x", "x"]\n', 3, "names lists acme.x twice"),
    "a wildcard": (HEAD + '[[allow]]\nmodule = "acme"\nnames = ["*"]\n', 3, "no wildcards"),
    "a wildcard at the end": (HEAD + '[[allow]]\nmodule = "acme"\nnames = ["Encod*"]\n', 3, "no wildcards"),
    "a wildcard for modules": (HEAD + '[[allow]]\nmodule = "acme.*"\nnames = ["x"]\n', 3, "without wildcards"),
    "a dotted name": (HEAD + '[[allow]]\nmodule = "acme"\nnames = ["a.b"]\n', 3, "no dots"),
    "a dunder name": (HEAD + '[[allow]]\nmodule = "acme"\nnames = ["__import__"]\n', 3, "__dunder__"),
    "a name in other letters": (HEAD + '[[allow]]\nmodule = "acme"\nnames = ["ä"]\n', 3, "plain name"),
    "the second rule": (HEAD + RULE + "\n" + '[[allow]]\nmodule = "acme"\nnames = ["*"]\n', 7, "no wildcards"),
    "empty roles": (HEAD + RULE + "roles = []\n", 3, "roles must be a list"),
    "roles that are text": (HEAD + RULE + 'roles = "new"\n', 3, "roles must be a list"),
    "an unknown role": (HEAD + RULE + 'roles = ["build"]\n', 3, "unknown role 'build'"),
    "all roles at once": (HEAD + RULE + 'roles = ["*"]\n', 3, "unknown role"),
    "a role twice": (HEAD + RULE + 'roles = ["new", "new"]\n', 3, "each role at most once"),
    "a role that is no text": (HEAD + RULE + "roles = [1]\n", 3, "unknown role"),
    "a call without arguments": (HEAD + RULE + 'roles = ["call"]\n', 3, "needs args"),
    "arguments without a call": (HEAD + RULE + 'args = [["int"]]\n', 3, "args needs exactly one"),
    "arguments of a call and of new": (HEAD + RULE + 'roles = ["call", "new"]\nargs = [[]]\n', 3, "args needs exactly"),
    "arguments that are no list": (HEAD + RULE + 'roles = ["call"]\nargs = "int"\n', 3, "args cannot be"),
    "no arguments at all": (HEAD + RULE + 'roles = ["call"]\nargs = []\n', 3, "not empty"),
    "arguments in one list only": (HEAD + RULE + 'roles = ["call"]\nargs = ["int"]\n', 3, "args cannot be"),
    "a state without the role": (HEAD + RULE + 'roles = ["new"]\nstate = "tuple"\n', 3, "role state"),
    "a form that is none": (HEAD + RULE + 'roles = ["call"]\nform = "any"\n', 3, "form"),
    "a form for what has none": (HEAD + RULE + 'roles = ["call"]\nform = "numpy"\n', 3, "form"),
    "no form for what has one": (
        HEAD + '[[allow]]\nmodule = "numpy"\nnames = ["dtype"]\nroles = ["call"]\n', 3, 'form = "numpy"',
    ),
    "a state for what has a form": (
        HEAD + '[[allow]]\nmodule = "numpy"\nnames = ["dtype"]\nroles = ["call", "state"]\n'
        'form = "numpy"\nstate = "any"\n',
        3, "form",
    ),
    "a reason that is no text": (HEAD + RULE + "reason = 1\n", 3, "reason must be a text"),
    "an expiry that is text": (HEAD + RULE + 'expires = "2027-11-01"\n', 3, "expires must be a date"),
    "an expiry with a time": (HEAD + RULE + "expires = 2027-11-01T00:00:00Z\n", 3, "expires must be a date"),
    "expired": (HEAD + RULE + "expires = 2020-01-01\n", 3, "expired on 2020-01-01"),
    "limits that are no table": (HEAD + "limits = 1\n" + RULE, 3, "limits must be a table"),
    "an unknown limit": (HEAD + RULE + "[limits]\nmax_bytes = 1\n", 6, "unknown limit 'max_bytes'"),
    "a limit of nothing": (HEAD + RULE + "[limits]\nmax_memo = 0\n", 6, "a whole number above 0"),
    "a limit that is a bool": (HEAD + RULE + "[limits]\nmax_memo = true\n", None, "a whole number above 0"),
    "extends that is text": (HEAD + 'extends = "core"\n', 3, "extends must be a list"),
    "extends of nothing": (HEAD + 'extends = [""]\n', None, "extends must be a list"),
    "an unknown pack": (HEAD + 'extends = ["no-such-pack"]\n', 3, "no policy pack 'no-such-pack'"),
    "a file that is not there": (HEAD + 'extends = ["./none.toml"]\n', 3, "cannot be read"),
    "a module with a special name": (
        HEAD + '[[allow]]\nmodule = "acme.__init__"\nnames = ["A"]\n', 3, "contains a __dunder__ name",
    ),
    "rules that are no tables": (HEAD + "allow = 1\n", 3, "allow must be a list of tables"),
    "rules in another way": (HEAD + 'allow = [{ module = "a", names = ["*"] }]\n', 3, "'*' in names is not a plain"),
    "10 MB of rules": (HEAD + RULE * (10_000_000 // len(RULE)), None, "which nobody can review"),
    "memmap made": (HEAD + '[[allow]]\nmodule = "numpy"\nnames = ["memmap"]\nroles = ["new"]\n', 3, "memmap"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "line", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_not_understood_is_an_error(tmp_path: Path, content: str, line: int | None, message: str) -> None:
    with pytest.raises(PolicyFileError) as caught:
        policy(tmp_path, content)
    said = str(caught.value)
    assert message in said
    if line is not None:
        assert f"line {line}" in said
    assert "policy.toml" in said


PATTERN_ERRORS = {
    "an unknown word": '"integer"',
    "a number": "1",
    "a list": '["int"]',
    "an unknown kind": '{ regex = "x" }',
    "two kinds": '{ literal = ["a"], list_of = "int" }',
    "none": "{}",
    "a literal that is no list": '{ literal = "a" }',
    "an empty literal": "{ literal = [] }",
    "a literal float": "{ literal = [1.5] }",
    "an empty choice": "{ any_of = [] }",
    "an empty global": "{ global = [] }",
    "a global without a module": '{ global = ["ndarray"] }',
    "an instance of a number": "{ instance = [1] }",
    "a list of two": '{ list_of = ["int", "str"] }',
    "a dict of one": '{ dict_of = ["str"] }',
    "a tuple that is a word": '{ tuple = "int" }',
    "attributes of nothing": "{ attributes = {} }",
    "attributes as a list": '{ attributes = ["a"] }',
    "an int of one": "{ int = [1] }",
    "an int of floats": "{ int = [0.0, 1.0] }",
    "an int of booleans": "{ int = [false, true] }",
    "bytes of less than none": "{ bytes = -1 }",
    "bytes of a bool": "{ bytes = true }",
    "only of no attributes": "{ only = {} }",
    "only of a list": '{ only = ["a"] }',
    "only of a special attribute": '{ only = { __class__ = "any" } }',
    "only of what is no pattern": '{ only = { a = "integer" } }',
    "source of a text alone": '{ source = { text = "a{}" } }',
    "source of a str": '{ source = "a" }',
    "source of no texts": '{ source = { text = "a{}", fill = [] } }',
    "source of a number": '{ source = { text = "a{}", fill = [1] } }',
    "source of more": '{ source = { text = "a{}", fill = ["a"], any = 1 } }',
    "no parameters that are left out": "{ parameter_except = [] }",
    "a parameter that is no name": "{ parameter_except = [1] }",
    "an unknown word inside": '{ list_of = { any_of = [{ tuple = ["integer"] }] } }',
    "a name on the denylist": '{ global = ["numpy.log1p", "posix.system"] }',
    "nested too deep": "{ list_of = " * 20 + '"int"' + " }" * 20,
}


@pytest.mark.parametrize("pattern", PATTERN_ERRORS.values(), ids=PATTERN_ERRORS.keys())
def test_what_is_no_pattern_is_an_error_in_arguments_and_in_state(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(PolicyFileError, match=r"line 3"):
        policy(tmp_path, HEAD + RULE + f'roles = ["call"]\nargs = [[{pattern}]]\n')
    with pytest.raises(PolicyFileError, match=r"line 3"):
        policy(tmp_path, HEAD + RULE + f'roles = ["state"]\nstate = {pattern}\n')


@pytest.mark.parametrize(
    "name",
    [
        "os.system", "posix.system", "subprocess.Popen", "builtins.eval", "builtins.exec", "builtins.getattr",
        "builtins.open", "importlib.import_module", "pickle.loads", "_pickle.loads", "joblib.load", "runpy.run_path",
        "shutil.rmtree", "socket.socket", "operator.attrgetter", "ctypes.CDLL", "sys.exit", "os.path.join",
        "numpy.core._ufunc_reconstruct", "types.FunctionType", "joblib.numpy_pickle.NDArrayWrapper",
            "urllib.request.urlopen",
        "cloudpickle.loads", "dill.loads", "multiprocessing.util.spawnv_passfds", "webbrowser.open", "pty.spawn",
    ],
)  # fmt: skip
@pytest.mark.parametrize("role", ["import", "call", "new"])
def test_the_floor_stands_above_every_policy(tmp_path: Path, name: str, role: str) -> None:
    module, _, plain = name.rpartition(".")
    extra = 'args = [["any"]]\n' if role == "call" else ""
    assert denied_reason(name)
    with pytest.raises(PolicyFileError, match=r"line 3: .*no policy can allow .*: it "):
        policy(tmp_path, HEAD + f'[[allow]]\nmodule = "{module}"\nnames = ["{plain}"]\nroles = ["{role}"]\n{extra}')


GETATTR = HEAD + '[[allow]]\nmodule = "builtins"\nnames = ["getattr"]\n'


@pytest.mark.parametrize(
    "rest",
    [
        'args = [[{ instance = ["acme.Model"] }, { literal = ["predict"] }]]',
        'roles = ["call", "import"]\nargs = [[{ instance = ["acme.Model"] }, { literal = ["predict"] }]]',
        'roles = ["call"]\nargs = [[{ instance = ["acme.Model"] }, "str"]]',
        'roles = ["call"]\nargs = [["any", { literal = ["predict"] }]]',
        'roles = ["call"]\nargs = [[{ global = ["acme.Model"] }, { literal = ["predict"] }]]',
        'roles = ["call"]\nargs = [[{ global = ["builtins.str"] }, { literal = ["format"] }]]',
        'roles = ["call"]\nargs = [[{ instance = ["acme.Model"] }, { literal = ["__class__"] }]]',
        'roles = ["call"]\nargs = [[{ instance = ["builtins.getattr"] }, { literal = ["predict"] }]]',
        'roles = ["call"]\nargs = [[{ instance = ["acme.Model", "os.system"] }, { literal = ["predict"] }]]',
        'roles = ["call"]\nargs = [[{ instance = ["acme.Model"] }, { literal = ["predict"] }, "any"]]',
        'roles = ["call"]\nargs = [[{ any_of = [{ instance = ["acme.Model"] }] }, { literal = ["predict"] }]]',
        'roles = ["call"]\nargs = [[{ instance = ["acme.Model"] }, { literal = ["predict"] }], ["any", "str"]]',
    ],
)
def test_getattr_can_be_allowed_for_listed_methods_of_listed_classes_only(tmp_path: Path, rest: str) -> None:
    with pytest.raises(PolicyFileError, match="no policy can allow"):
        policy(tmp_path, GETATTR + rest)


def test_getattr_tied_to_a_method_of_a_class_can_be_allowed(tmp_path: Path) -> None:
    rest = 'roles = ["call"]\nargs = [[{ instance = ["acme.Model"] }, { literal = ["predict"] }]]'
    assert "builtins.getattr" in policy(tmp_path, GETATTR + rest)


@pytest.mark.parametrize(
    ("roles", "held_by"),
    [
        ('roles = ["import", "call"]\nargs = [[]]', '["acme.Model.function"]'),
        ('roles = ["new"]', '["acme.Model.function"]'),
        ("", '"acme.Model.function"'),
        ("", "[]"),
        ("", "[1]"),
        ("", '["function"]'),
        ("", '["Model.function"]'),
        ("", '["acme.Model.__class__"]'),
        ("", '["acme.Model.*"]'),
        ("", '["acme.Model.function", "acme.Model.function"]'),
    ],
)
def test_what_is_no_holder_is_an_error(tmp_path: Path, roles: str, held_by: str) -> None:
    with pytest.raises(PolicyFileError, match=r"line 3: .*held_by"):
        policy(tmp_path, HEAD + f'[[allow]]\nmodule = "acme"\nnames = ["f"]\n{roles}\nheld_by = {held_by}\n')


def test_the_floor_is_about_whole_names() -> None:
    assert denied_reason("osmnx.graph") is None
    assert denied_reason("acme.os") is None
    assert denied_reason("sklearn.linear_model._base.LinearRegression") is None


def test_policies_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match="cannot be read"):
        Policy.load(tmp_path / "none.toml")
    with pytest.raises(PolicyFileError, match="cannot be read"):
        Policy.load(tmp_path)
    (tmp_path / "latin.toml").write_bytes(HEAD.encode() + b"# \xe4")
    with pytest.raises(PolicyFileError, match="not UTF-8"):
        Policy.load(tmp_path / "latin.toml")
    (tmp_path / "big.toml").write_bytes(HEAD.encode() + RULE.encode() + b"#" * (1 << 20))
    with pytest.raises(PolicyFileError, match="more than"):
        Policy.load(tmp_path / "big.toml")


def test_a_pack_is_found_by_its_name_and_a_file_only_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acme.toml").write_text(HEAD + RULE)
    (tmp_path / "acme").write_text(HEAD + RULE)
    (tmp_path / "core").write_text(HEAD + RULE)
    assert "acme" not in pack_names()
    with pytest.raises(PolicyFileError, match=r"no policy pack 'acme' .packs: .*core, .*\./acme"):
        Policy.load("acme")
    assert Policy.load("core").name == "core"
    assert Policy.load("./acme.toml").name == "acme"
    assert Policy.load(Path("acme")).name == "acme"
    for wrong in ("", "../core", "CORE", "core\n", "__init__"):
        with pytest.raises(PolicyFileError):
            Policy.load(wrong)


def test_resolve_policy() -> None:
    core = Policy.load("core")
    assert resolve_policy(core) is core
    assert resolve_policy("core").digest == core.digest
    assert resolve_policy(None).digest == Policy.load("sklearn").digest
    assert resolve_policy(["core"]).digest == core.digest
    for wrong in (True, 1, [], [1], {"core"}):
        with pytest.raises(PolicyFileError):
            resolve_policy(wrong)  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------- packs


@pytest.mark.parametrize("name", pack_names())
def test_packs_are_valid_and_give_a_reason_for_every_rule(name: str) -> None:
    pack = Policy.load(name)
    assert pack.name == name
    for rule in pack.rules:
        assert rule.reason, rule.where
        for plain in rule.names:
            assert f"{rule.module}.{plain}" in pack


# --------------------------------------------------------------------------------------------------- roles

CLASS = glob("acme.features", "Encoder")
USES = {
    "import": stream(value([CLASS])),
    "call": stream(call(CLASS)),
    "new": stream(new(CLASS)),
    "state": stream(build(new(CLASS), {"a": 1})),
    "items": stream(new(CLASS), text("a"), number(1), pickle.SETITEM),
}


@pytest.mark.parametrize("granted", USES)
@pytest.mark.parametrize("used", USES)
def test_no_role_implies_another(tmp_path: Path, granted: str, used: str) -> None:
    roles = [granted] if used not in ("state", "items") else sorted({granted, "new"})
    if granted == "call" and "new" in roles:
        roles = ["call"]
    args = "args = [[]]\n" if "call" in roles else ""
    trace = scan(USES[used], policy(tmp_path, CORE + RULE + f"roles = {roles}\n{args}"))
    if used in roles:
        assert not trace.findings
    else:
        assert [finding.code for finding in trace.findings] == ["SL402"]
        needed = ["new", used] if used in ("state", "items") else [used]
        lacking = ", ".join(role for role in needed if role not in roles)
        assert trace.findings[0].message.endswith(f"the role: {lacking}")


def test_a_rule_without_roles_grants_import_alone(tmp_path: Path) -> None:
    acme = policy(tmp_path, CORE + RULE)
    assert codes(USES["import"], acme) == []
    for used in USES.keys() - {"import"}:
        assert codes(USES[used], acme) == ["SL402"]


def test_what_no_rule_lists_is_refused(tmp_path: Path) -> None:
    for data in USES.values():
        assert codes(data, policy(tmp_path, CORE)) == ["SL401"]


def test_rules_of_one_name_add_up(tmp_path: Path) -> None:
    acme = policy(
        tmp_path,
        CORE + RULE + 'roles = ["new"]\n' + RULE + 'roles = ["state"]\n'
        + RULE + 'roles = ["call"]\nargs = [["int"]]\n' + RULE + 'roles = ["call"]\nargs = [["str"], []]\n'
        + RULE + 'roles = ["state"]\nstate = { tuple = ["int"] }\n',
    )  # fmt: skip
    assert len(acme.rules_for("acme.features.Encoder")) == 5
    for allowed in (
        call(CLASS, 1),
        call(CLASS, "x"),
        call(CLASS),
        new(CLASS),
        build(new(CLASS), {"a": 1}),
        build(new(CLASS), (1,)),
    ):
        assert codes(stream(allowed), acme) == []
    assert codes(stream(call(CLASS, 1.5)), acme) == ["SL403"]
    assert codes(stream(new(CLASS, 1)), acme) == ["SL403"]
    assert codes(stream(build(new(CLASS), ("x",))), acme) == ["SL404"]


def test_new_with_and_without_arguments(tmp_path: Path) -> None:
    plain = policy(tmp_path, CORE + RULE + 'roles = ["new"]\n', "a.toml")
    given = policy(tmp_path, CORE + RULE + 'roles = ["new"]\nargs = [["int"]]\n', "b.toml")
    both = policy(tmp_path, CORE + RULE + 'roles = ["new"]\n' + RULE + 'roles = ["new"]\nargs = [["int"]]\n', "c.toml")
    assert [codes(stream(new(CLASS)), one) for one in (plain, given, both)] == [[], ["SL403"], []]
    assert [codes(stream(new(CLASS, 1)), one) for one in (plain, given, both)] == [["SL403"], [], []]


# ------------------------------------------------------------------------------------------------ patterns

ARRAY = array()
BUFFER = call(FROMBUFFER, raw(bytes(8)), dtype(), (1,), "C")
DELTA = call(glob("datetime", "timedelta"), 1, 0, 0)
FROZEN = pickle.MARK + number(1) + pickle.FROZENSET
SET = pickle.EMPTY_SET + pickle.MARK + number(1) + text("a") + pickle.ADDITEMS
BYTEARRAY = call(glob("builtins", "bytearray"), raw(b"xy"))
INT = glob("builtins", "int")
NESTED = {"a": {"b": ("x", [1])}}

# For each pattern: what it matches, and what it does not.
PATTERNS: dict[str, tuple[list[Any], list[Any]]] = {
    '"none"': ([None], [False, 0, "", ()]),
    '"bool"': ([True, False], [0, 1, None, "true"]),
    '"int"': ([0, -1, 1 << 70], [True, 1.5, "1", None, raw(b"1")]),
    '"float"': ([1.5], [1, "1.5", True]),
    '"number"': ([1, True, 1.5], ["1", None, (1,)]),
    '"str"': (["", "x"], [raw(b"x"), 1, None, ["x"]]),
    '"bytes"': ([raw(b""), raw(b"x" * 300)], ["x", BYTEARRAY, [1]]),
    '"bytearray"': ([BYTEARRAY], [raw(b"x"), "x"]),
    '"scalar"': ([None, True, 1, 1.5, "x", raw(b"x"), raw(b"x" * 300)], [BYTEARRAY, (), [], INT, DELTA, ARRAY]),
    '"list"': ([[], [1]], [(), {}, "x"]),
    '"tuple"': ([(), (1,)], [[], "x"]),
    '"dict"': ([{}, {"a": 1}], [[], call(glob("collections", "OrderedDict"))]),
    '"set"': ([SET, FROZEN], [[], {}]),
    '"array"': ([ARRAY, BUFFER], [dtype(), [1.5], raw(bytes(8))]),
    '"dtype"': ([dtype()], [ARRAY, "f8", INT]),
    '"attributes"': ([{}, {"a": 1, "b": [INT]}], [{"__a__": 1}, mapping([(1, 1)]), mapping([("a", 1), ("a", 2)]), [],
        (None, {})]),
    '"slots"': ([(None, {}), ({"a": 1}, {"b": 2})], [{}, (None, None), (1, {}), (None, {}, {}), (None, {"__a__": 1})]),
    '"any"': ([None, 1, [INT], ARRAY, DELTA, {}], [INT]),
    "{ literal = ['a', 1, true] }": (["a", 1, True], ["b", 2, False, 0, 1.5, None, ("a",), raw(b"a")]),
    "{ literal = [1] }": ([1], [True, 1.5, "1"]),
    "{ literal = [false] }": ([False], [0, None, ""]),
    "{ global = ['builtins.int', 'builtins.str'] }": ([INT, glob("builtins", "str")], [glob("builtins", "list"),
        "builtins.int", 1]),
    "{ instance = ['datetime.timedelta', 'numpy._core.numeric._frombuffer'] }": (
        [DELTA, BUFFER], [glob("builtins", "int"), ARRAY, "datetime.timedelta", call(glob("collections",
            "OrderedDict"))],
    ),
    "{ tuple = [] }": ([()], [(1,), [], None]),
    "{ tuple = ['int', 'str'] }": ([(1, "a")], [(1,), ("a", 1), (1, "a", 1), [1, "a"]]),
    "{ list_of = 'int' }": ([[], [1, 2]], [[1, "a"], (1,), None]),
    "{ tuple_of = 'int' }": ([(), (1, 2)], [(1, "a"), [1]]),
    "{ set_of = { any_of = ['int', 'str'] } }": ([SET, FROZEN], [[1],
        pickle.EMPTY_SET + pickle.MARK + real(1.5) + pickle.ADDITEMS]),
    "{ dict_of = ['str', 'int'] }": ([{}, {"a": 1}], [{"a": "b"}, mapping([(1, 1)]), [], {"a": 1, "b": None}]),
    "{ any_of = ['none', { list_of = 'str' }] }": ([None, [], ["a"]], [1, [1], "a"]),
    "{ attributes = { a = 'int', b = 'none' } }": (
        [{}, {"a": 1}, {"a": 1, "b": None, "c": INT}], [{"a": "x"}, {"a": 1, "b": 1}, {"__c__": 1}, [],
            mapping([("a", 1), ("a", 1)])],
    ),
    "{ attributes = { a = { attributes = { b = { tuple = ['str', { list_of = 'int' }] } } } } }": (
        [NESTED], [{"a": {"b": ("x", ["y"])}}, {"a": [1]}],
    ),
    "{ int = [0, 624] }": ([0, 624], [-1, 625, True, 1.5, "1"]),
    "{ bytes = 2 }": ([raw(b"xy")], [raw(b"x"), raw(b"xyz"), "xy", BYTEARRAY]),
    "{ bytes = 300 }": ([raw(bytes(300))], [raw(bytes(299)), raw(bytes(2))]),
}  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns(tmp_path: Path, pattern: str) -> None:
    other = '[[allow]]\nmodule = "builtins"\nnames = ["int"]\n[[allow]]\nmodule = "datetime"\nnames = ["timezone"]\n'
    acme = policy(tmp_path, CORE + other + RULE + f'roles = ["call"]\nargs = [[{pattern}]]\n')
    state = policy(tmp_path, CORE + other + RULE + f'roles = ["new", "state"]\nstate = {pattern}\n', "state.toml")
    matching, others = PATTERNS[pattern]
    for one in matching:
        assert codes(stream(call(CLASS, one)), acme) == [], one
        assert codes(stream(build(new(CLASS), one)), state) == [], one
    for one in others:
        assert codes(stream(call(CLASS, one)), acme) == ["SL403"], one
        assert codes(stream(build(new(CLASS), one)), state) == ["SL404"], one


def test_argument_lists_match_as_a_whole(tmp_path: Path) -> None:
    acme = policy(tmp_path, CORE + RULE + 'roles = ["call"]\nargs = [["int", "str"], ["none"]]\n')
    for args in ((1, "a"), (None,)):
        assert codes(stream(call(CLASS, *args)), acme) == []
    refused: list[tuple[object, ...]] = [(), (1,), (1, None), (None, "a"), (1, "a", 1)]
    for wrong in refused:
        finding = scan(stream(call(CLASS, *wrong)), acme).findings[0]
        assert finding.code == "SL403"
        assert "allowed: (int, str) or (none)" in finding.message


SEALED = {
    "list_of": ("{ list_of = 'int' }", value([1]), pickle.NONE + pickle.APPEND),
    "dict_of": ("{ dict_of = ['str', 'int'] }", value({"a": 1}), text("a") + pickle.NONE + pickle.SETITEM),
    "set_of": ("{ set_of = 'int' }", pickle.EMPTY_SET, pickle.MARK + text("a") + pickle.ADDITEMS),
    "attributes": ("{ attributes = { a = 'int' } }", value({"a": 1}), text("a") + pickle.NONE + pickle.SETITEM),
    "the word": ("'attributes'", value({"a": 1}), text("__a__") + pickle.NONE + pickle.SETITEM),
}


@pytest.mark.parametrize("name", SEALED)
def test_what_was_looked_into_may_not_change_afterwards(tmp_path: Path, name: str) -> None:
    pattern, container, change = SEALED[name]
    for inner in (pattern, f"{{ tuple = [{pattern}] }}", f"{{ any_of = ['none', {pattern}] }}"):
        acme = policy(tmp_path, CORE + RULE + f'roles = ["call"]\nargs = [[{inner}]]\n')
        given = container + put(0)
        made = call(CLASS, tup(given) if "tuple" in inner else given)
        assert codes(stream(pickle.MARK, made, get(0), change, pickle.TUPLE), acme) == ["SL320"]
        assert codes(stream(pickle.MARK, made, get(0), pickle.TUPLE), acme) == []


# ------------------------------------------------------------------------------------------------- extends


def test_extended_policies_add_up(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    policy(tmp_path / "sub", CORE + RULE + 'roles = ["new"]\n', "base.toml")
    acme = policy(tmp_path, HEAD + 'extends = ["sub/base.toml", "core"]\n' + RULE + 'roles = ["state"]\n')
    assert codes(stream(build(new(CLASS), {"a": DELTA})), acme) == []
    assert acme.name == "acme"
    assert "datetime.timedelta" in acme
    assert "acme.features.Encoder" in acme
    assert "acme.features.Other" not in acme
    assert acme.grant("acme.features.Other") is None
    assert len(acme.rules) == len(Policy.load("core").rules) + 2


def test_policies_that_extend_one_another_for_ever(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(HEAD + 'extends = ["b.toml"]\n')
    (tmp_path / "b.toml").write_text(HEAD + 'extends = ["a.toml"]\n')
    with pytest.raises(
        PolicyFileError, match=r"b\.toml, line 3: the policy extends itself: \S+a\.toml extends \S+b\.toml"
    ):
        Policy.load(tmp_path / "a.toml")
    (tmp_path / "c.toml").write_text(HEAD + 'extends = ["c.toml"]\n')
    with pytest.raises(PolicyFileError, match="extends itself"):
        Policy.load(tmp_path / "c.toml")
    # The same file under ever longer names.
    (tmp_path / "d.toml").write_text(HEAD + f'extends = ["../{tmp_path.name}/d.toml"]\n')
    with pytest.raises(PolicyFileError, match="extend"):
        Policy.load(tmp_path / "d.toml")


def test_what_is_wrong_in_a_file_is_said_of_whoever_extends_it(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(HEAD + RULE + "surprise = 1\n")
    with pytest.raises(
        PolicyFileError, match=r"policy\.toml, line 3: it extends \S+: \S+base\.toml, line 3: unknown key"
    ):
        policy(tmp_path, HEAD + 'extends = ["./base.toml"]\n')


def test_no_line_is_better_than_a_wrong_one(tmp_path: Path) -> None:
    """A text that looks like a rule does not move the lines that errors tell."""
    content = HEAD + 'description = """\n[[allow]]\n"""\n' + RULE + "surprise = 1\n"
    with pytest.raises(PolicyFileError, match=r"policy\.toml: unknown key 'surprise'"):
        policy(tmp_path, content)


def test_a_policy_extended_twice_counts_once(tmp_path: Path) -> None:
    for name in ("b", "c"):
        (tmp_path / f"{name}.toml").write_text(CORE)
    acme = policy(tmp_path, HEAD + 'extends = ["b.toml", "c.toml"]\n')
    assert len(acme.rules) == len(Policy.load("core").rules)


# -------------------------------------------------------------------------------------------------- limits


def test_limits_only_tighten(tmp_path: Path) -> None:
    policy(tmp_path, CORE + "[limits]\nmax_opcodes = 1000\nmax_memo = 10\n", "base.toml")
    acme = policy(
        tmp_path, HEAD + 'extends = ["base.toml"]\n[limits]\nmax_opcodes = 5000\nmax_memo = 5\nmax_globals = 99999999\n'
    )
    assert acme.limits().max_opcodes == 1000
    assert acme.limits().max_memo == 5
    assert acme.limits().max_globals == Limits().max_globals
    assert acme.limits(Limits(max_opcodes=7)).max_opcodes == 7
    assert Policy.load("core").limits() == Limits()


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "9", None])
def test_limits_are_validated(wrong: Any) -> None:
    with pytest.raises(ValueError, match="max_memo"):
        Limits(max_memo=wrong)


# -------------------------------------------------------------------------------------------------- digest


def test_the_digest_is_of_what_is_in_force(tmp_path: Path) -> None:
    base = CORE + RULE + 'roles = ["new"]\nreason = "reviewed"\n'
    digest = policy(tmp_path, base).digest
    assert digest.startswith("sha256:")
    assert len(digest) == 71
    assert policy(tmp_path, "# a comment\n" + base.replace("reviewed", "reviewed again"), "same.toml").digest == digest
    for other in (
        base + RULE,
        base.replace('["new"]', '["new", "state"]'),
        base.replace('["new"]', '["new"]\nargs = [["int"]]'),
        base.replace('["new"]', '["new"]\nexpires = 2999-01-01'),
        base.replace("Encoder", "Encoder2"),
        base.replace("acme.features", "acme.feature"),
        base.replace('["core"]', '["sklearn"]'),
        base + "[limits]\nmax_memo = 5\n",
    ):
        assert policy(tmp_path, other).digest != digest, other


def test_a_rule_that_has_not_expired_is_in_force(tmp_path: Path) -> None:
    acme = policy(tmp_path, CORE + RULE + "expires = 2999-01-01\n")
    assert codes(USES["import"], acme) == []
    rule = acme.rules_for("acme.features.Encoder")[0]
    assert str(rule.expires) == "2999-01-01"
    assert rule.where.endswith("policy.toml, line 4")


def test_a_policy_shows_its_name_and_size() -> None:
    assert repr(Policy.load("core")).startswith("<Policy 'core', ")
