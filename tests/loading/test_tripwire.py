"""The tripwire: hostile pickles that no scan has seen, and honest loading that must not be disturbed.

The scan is left out on purpose, and the set of allowed globals lies: what is tested is the second line alone.
"""

from __future__ import annotations

import contextlib
import gc
import io
import mmap
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import joblib
import numpy as np
import pytest
import scipy.stats
import sklearn
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from safeload._loading.tripwire import tripwire
from safeload._loading.unpickle import import_modules, load_mapped, load_stream
from safeload.errors import DigestMismatchError, TripwireError, VersionMismatchError
from support import workers
from support.objects import dumped
from support.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from types import TracebackType


def text(value: str) -> bytes:
    raw = value.encode()
    return pickle.BINUNICODE + len(raw).to_bytes(4, "little") + raw


def named(module: str, name: str) -> bytes:
    return text(module) + text(name) + pickle.STACK_GLOBAL


def call(module: str, name: str, *arguments: bytes) -> bytes:
    return named(module, name) + pickle.MARK + b"".join(arguments) + pickle.TUPLE + pickle.REDUCE


def new(cls: type, state: bytes = pickle.NONE) -> bytes:
    return named(cls.__module__, cls.__qualname__) + pickle.EMPTY_TUPLE + pickle.NEWOBJ + state + pickle.BUILD


def artifact(*body: bytes) -> bytes:
    return pickle.PROTO + b"\x04" + b"".join(body) + pickle.STOP


def pair(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def guarded(data: bytes, *allowed: tuple[str, str], sources: tuple[str, ...] = ()) -> Any:
    import_modules(module for module, _ in allowed)
    stream = io.BufferedReader(io.BytesIO(data))
    with tripwire(allowed, sources=sources):
        return load_stream(stream)


def names_in(data: bytes) -> set[tuple[str, str]]:
    """The globals of an artifact of protocol 3 or later, as joblib's own unpickler meets them."""
    seen = set()
    active = True

    def note(event: str, args: tuple[Any, ...]) -> None:
        if active and event == "pickle.find_class":
            seen.add((args[0], args[1]))

    sys.addaudithook(note)
    joblib.load(io.BytesIO(data))
    active = False
    return seen


class Plain:
    def __setstate__(self, state: Any) -> None:
        self.state = state


class Swallows:
    """An allowed class whose own code does harm, and tells nobody."""

    later: list[str]

    def __setstate__(self, state: str) -> None:
        self.later = []
        for command in (state, "true"):
            try:
                os.system(command)
            except Exception as error:  # noqa: BLE001 - that is what it is here for
                self.later.append(str(error))


class Translates:
    def __setstate__(self, state: str) -> None:
        try:
            os.system(state)
        except Exception as error:
            raise LookupError("something else went wrong") from error


class Fails:
    def __setstate__(self, state: Any) -> None:
        raise LookupError("of its own")


class Interrupts:
    def __setstate__(self, state: Any) -> None:
        raise KeyboardInterrupt


class Finalized:
    def __setstate__(self, state: str) -> None:
        self.path = state

    def __del__(self) -> None:
        Path(self.path).write_text("harm")


class Waits:
    """Loading it takes until the test says so."""

    entered = threading.Event()
    leave = threading.Event()

    def __setstate__(self, state: Any) -> None:
        self.entered.set()
        assert self.leave.wait(30)


@pytest.fixture
def waits() -> Iterator[type[Waits]]:
    Waits.entered.clear()
    Waits.leave.clear()
    yield Waits
    Waits.leave.set()


HOSTILE: dict[str, tuple[Callable[[str], bytes], Collection[str]]] = {
    "os.system": (lambda mark: call("os", "system", text(f"touch {mark}")), {"os.system"}),
    "posix.system": (lambda mark: call("posix", "system", text(f"touch {mark}")), {"os.system"}),
    "open": (lambda mark: call("builtins", "open", text(mark), text("w")), {"open"}),
    "os.open": (lambda mark: call("os", "open", text(mark), pickle.BININT1 + b"\x41"), {"open"}),
    "read": (lambda _: call("builtins", "open", text("/etc/passwd")), {"open"}),
    "read source": (lambda _: call("builtins", "open", text(str(Path(os.__file__).with_name("this.py")))), {"open"}),
    "write source": (lambda _: call("builtins", "open", text(str(Path(__file__))), text("a")), {"open"}),
    "import": (lambda _: call("builtins", "__import__", text("colorsys")), {"import"}),
    "importlib": (lambda _: call("importlib", "import_module", text("colorsys")), {"import", "open"}),
    "subprocess": (
        lambda mark: call("subprocess", "Popen", pickle.EMPTY_LIST + text("touch") + pickle.APPEND),
        {"subprocess.Popen"},
    ),
    "socket": (lambda _: call("socket", "socket"), {"socket.__new__"}),
    "resolve": (lambda _: call("socket", "gethostbyname", text("localhost")), {"import", "socket.gethostbyname"}),
    "exec": (lambda mark: call("builtins", "exec", text(f"open({mark!r}, 'w')")), {"exec", "compile"}),
    "eval": (lambda mark: call("builtins", "eval", text(f"open({mark!r}, 'w')")), {"exec", "compile"}),
    "mkdir": (lambda mark: call("os", "mkdir", text(mark)), {"os.mkdir"}),
    "listdir": (lambda _: call("os", "listdir", text("/")), {"os.listdir"}),
    "heap": (lambda _: call("gc", "get_objects"), {"gc.get_objects"}),
    "mmap": (lambda _: call("mmap", "mmap", pickle.BININT1 + b"\x00", pickle.BININT1 + b"\x01"), {"mmap.__new__"}),
    "putenv": (lambda _: call("os", "putenv", text("API_TOKEN"), text("hunter2")), {"os.putenv"}),
}
if sys.version_info >= (3, 12):  # before, Python raises no event for it
    HOSTILE["thread"] = (
        lambda _: call("_thread", "start_new_thread", named("os", "getpid"), pickle.EMPTY_TUPLE),
        {"_thread.start_new_thread"},
    )
ALLOWED = [
    ("_thread", "start_new_thread"),
    ("builtins", "__import__"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "open"),
    ("gc", "get_objects"),
    ("importlib", "import_module"),
    ("mmap", "mmap"),
    ("os", "getpid"),
    ("os", "listdir"),
    ("os", "mkdir"),
    ("os", "open"),
    ("os", "putenv"),
    ("os", "system"),
    ("posix", "system"),
    ("socket", "gethostbyname"),
    ("socket", "socket"),
    ("subprocess", "Popen"),
]


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_the_scan_missed_is_stopped(kind: str, tmp_path: Path) -> None:
    body, events = HOSTILE[kind]
    mark = tmp_path / "mark"
    sys.modules.pop("colorsys", None)
    with pytest.raises(TripwireError) as caught:
        guarded(artifact(body(str(mark))), *ALLOWED)
    assert caught.value.event in events
    assert caught.value.event in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert not mark.exists()
    assert "colorsys" not in sys.modules
    # and nothing of the guard is left
    mark.write_text("free again")
    assert subprocess.run(["true"], check=True).returncode == 0


@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
def test_a_global_that_was_not_scanned(protocol: int) -> None:
    with pytest.raises(TripwireError, match=r"pickle\.find_class\('p?o.*', 'getpid'\)") as caught:
        guarded(pickle.dumps(os.getpid, protocol=protocol), ("os", "getcwd"))
    assert caught.value.event == "pickle.find_class"


def test_a_global_inside_a_nested_pickle() -> None:
    data = dumped(np.array([Plain(), None], dtype=object))
    allowed = names_in(data) - {pair(Plain)}
    with pytest.raises(TripwireError, match="'Plain'"):
        guarded(data, *allowed)
    assert len(guarded(data, *allowed, pair(Plain))) == 2


def test_names_are_compared_as_the_pickle_spells_them() -> None:
    data = pickle.PROTO + b"\x02" + pickle.GLOBAL + b"__builtin__\nset\n" + pickle.STOP
    with tripwire({("__builtin__", "set")}):
        assert load_stream(io.BufferedReader(io.BytesIO(data))) is set
    with pytest.raises(TripwireError, match="__builtin__"):
        guarded(data, ("builtins", "set"))


def test_swallowing_the_refusal_does_not_help(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    data = artifact(new(Swallows, text(f"touch {mark}")))
    with pytest.raises(TripwireError, match="touch") as caught:
        guarded(data, pair(Swallows))
    assert caught.value.event == "os.system"
    assert not mark.exists()


def test_once_tripped_nothing_passes(tmp_path: Path) -> None:
    refused = []

    def swallow(step: Callable[[], object]) -> None:
        try:
            step()
        except TripwireError as error:
            refused.append(error.event)

    def load() -> None:
        with tripwire([("os", "getpid")]):
            swallow((tmp_path / "a").mkdir)
            swallow(lambda: pickle.loads(artifact(named("os", "getpid"))))

    with pytest.raises(TripwireError, match=r"os\.mkdir"):
        load()
    assert refused == ["os.mkdir", "os.mkdir"]


def test_the_refusal_wins_over_what_it_was_turned_into() -> None:
    with pytest.raises(TripwireError, match=r"os\.system") as caught:
        guarded(artifact(new(Translates, text("true"))), pair(Translates))
    assert isinstance(caught.value.__cause__, LookupError)


class Damaged(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        raise DigestMismatchError("not these bytes")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (artifact(new(Fails)), LookupError),
        (artifact(new(Interrupts)), KeyboardInterrupt),
        (artifact(new(Plain))[:-1], EOFError),
        (artifact(pickle.POP), IndexError),
    ],
)
def test_other_errors_pass_through(data: bytes, error: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(error) as caught:
        guarded(data, pair(Fails), pair(Interrupts), pair(Plain))
    assert caught.type is error
    (tmp_path / "free").write_text("again")


def test_the_readers_error_passes_through() -> None:
    stream = io.BufferedReader(Damaged())
    with pytest.raises(DigestMismatchError, match="not these bytes"), tripwire([]):
        load_stream(stream)


def test_harm_while_an_object_is_dropped(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(TripwireError, match="mark") as caught:
        guarded(artifact(new(Finalized, text(str(mark))), pickle.POP, pickle.NONE), pair(Finalized))
    assert caught.value.event == "open"
    assert not mark.exists()
    capfd.readouterr()  # Python reports errors in finalizers here


class Repr:
    def __repr__(self) -> str:
        raise AssertionError("was asked for its repr")


class Text(str):
    __slots__ = ()
    __repr__ = Repr.__repr__


@pytest.mark.parametrize("argument", [Repr(), Text("x"), "x" * 10**6, ["x" * 10**6] * 100, b"\xff" * 10**6, 10**4000])
def test_messages_are_bounded_and_ask_nothing_of_their_objects(argument: object) -> None:
    with pytest.raises(TripwireError) as caught, tripwire([]):
        sys.audit("some.event", argument)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_a_code_object_is_named() -> None:
    code = compile("1 + 1", "<test>", "exec")
    with pytest.raises(TripwireError, match=r"exec\(<code '<module>'>\)"), tripwire([]):
        exec(code)


# --- threads, nesting, the collector ---------------------------------------------------------------------------------


def test_other_threads_are_free(waits: type[Waits], tmp_path: Path) -> None:
    results: list[Any] = []
    loading = threading.Thread(target=lambda: results.append(guarded(artifact(new(waits)), pair(waits))))
    loading.start()
    assert waits.entered.wait(30)
    for number in range(50):
        (tmp_path / str(number)).write_text("free")
    subprocess.run(["true"], check=True)
    sys.modules.pop("colorsys", None)
    __import__("colorsys")
    waits.leave.set()
    loading.join(30)
    assert isinstance(results[0], waits)


def test_each_thread_has_its_own_set(waits: type[Waits]) -> None:
    results: list[Any] = []
    loading = threading.Thread(target=lambda: results.append(guarded(artifact(new(waits)), pair(waits))))
    loading.start()
    assert waits.entered.wait(30)
    with pytest.raises(TripwireError, match="'Waits'"):
        guarded(artifact(new(waits)), pair(Plain))
    assert isinstance(guarded(artifact(new(Plain)), pair(Plain)), Plain)
    waits.leave.set()
    loading.join(30)
    assert isinstance(results[0], waits)


def test_many_threads_at_once(tmp_path: Path) -> None:
    problems: list[BaseException] = []

    def work(index: int) -> None:
        try:
            for turn in range(30):
                (tmp_path / f"{index}-{turn}").write_text("free")
                assert guarded(artifact(new(Plain, pickle.NEWTRUE)), pair(Plain)).state is True
                with pytest.raises(TripwireError):
                    guarded(artifact(call("os", "system", text("true"))), ("os", "system"))
        except BaseException as error:  # noqa: BLE001 - for the test's own thread to show
            problems.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []


def test_nested_tripwires() -> None:
    with tripwire([pair(Plain), ("os", "getpid")]):
        assert guarded(artifact(named("os", "getcwd")), ("os", "getcwd")) is os.getcwd
        with pytest.raises(TripwireError, match="getpid"):
            guarded(artifact(named("os", "getpid")), ("os", "getcwd"))
        # The outer one applies again, and was not tripped by what the inner one refused.
        assert pickle.loads(artifact(named("os", "getpid"))) is os.getpid
    with pytest.raises(TripwireError, match="getcwd"), tripwire([pair(Plain)]):  # noqa: PT012
        assert guarded(artifact(named("os", "getpid")), ("os", "getpid")) is os.getpid
        pickle.loads(artifact(named("os", "getcwd")))


def test_a_tripwire_is_for_one_use() -> None:
    guard = tripwire([])
    with guard:
        pass
    with pytest.raises(RuntimeError, match="once"), guard:
        pass


def test_a_tripwire_is_entered_where_it_stays() -> None:
    @contextlib.contextmanager
    def wrapped() -> Iterator[None]:
        with tripwire([]):
            yield

    class Stepwise:
        def __init__(self) -> None:
            self.guard = tripwire([])

        def __enter__(self) -> None:
            self.guard.__enter__()

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            self.guard.__exit__(kind, error, trace)

    with pytest.raises(RuntimeError, match="plain function"), wrapped():
        pass
    with pytest.raises(RuntimeError, match="plain function"), contextlib.ExitStack() as stack:
        stack.enter_context(tripwire([]))
    with pytest.raises(TripwireError, match="switched off"), Stepwise():
        pass


def test_a_guard_that_was_never_left_guards_nothing(tmp_path: Path) -> None:
    """As after an interrupt that comes in the moment in which it is left."""
    guard = tripwire([])

    def interrupted() -> None:
        guard.__enter__()
        with pytest.raises(TripwireError):
            (tmp_path / "refused").touch()

    interrupted()
    (tmp_path / "free").touch()
    with pytest.raises(TripwireError):
        guarded(artifact(call("os", "system", text("true"))), ("os", "system"))
    (tmp_path / "still free").touch()
    with pytest.raises(TripwireError):
        guard.__exit__(None, None, None)


def test_a_tracer_written_in_python() -> None:
    lines = []

    def trace(frame: Any, event: str, argument: object) -> Any:
        lines.append(frame.f_code.co_filename)
        return trace

    earlier = sys.gettrace()
    data = artifact(new(Plain))
    sys.settrace(trace)
    try:
        guarded(data, pair(Plain))
        with pytest.raises(TripwireError):
            guarded(data, pair(Fails))
    finally:
        sys.settrace(earlier)
    assert pickle.__file__ in lines


class Litter:
    """In a cycle, so that only the collector finalizes it; its finalizer is none of the artifact's business."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cycle = self

    def __del__(self) -> None:
        self.path.write_text("tidied up")


def test_finalizers_of_others_run_undisturbed(tmp_path: Path) -> None:
    gc.collect()
    Litter(tmp_path / "a")
    with tripwire([]):
        gc.collect()
    assert (tmp_path / "a").read_text() == "tidied up"
    Litter(tmp_path / "b")
    with pytest.raises(TripwireError, match="after"), tripwire([]):  # noqa: PT012
        gc.collect()
        (tmp_path / "after").write_text("the guard is back")
    assert (tmp_path / "b").exists()
    assert not (tmp_path / "after").exists()


def test_a_load_within_a_finalizer(tmp_path: Path) -> None:
    class Loads(Litter):
        def __del__(self) -> None:
            assert guarded(artifact(named("os", "getpid")), ("os", "getpid")) is os.getpid
            self.path.write_text("loaded")

    gc.collect()
    Loads(tmp_path / "a")
    with tripwire([]):
        gc.collect()
    assert (tmp_path / "a").exists()


def test_callbacks_of_others_that_come_and_go(tmp_path: Path) -> None:
    # Python walks the list by index: one that goes, in any thread, makes it skip the one after it.
    def once(phase: str, info: dict[str, int]) -> None:
        if phase == "stop" and once in gc.callbacks:
            gc.callbacks.remove(once)

    with tripwire([]):
        pass
    gc.callbacks.append(once)
    with pytest.raises(TripwireError, match="after"), tripwire([]):  # noqa: PT012
        gc.collect()
        (tmp_path / "after").write_text("the guard is back")
    assert not (tmp_path / "after").exists()
    assert once not in gc.callbacks


def test_collecting_in_many_loading_threads(tmp_path: Path) -> None:
    failed: list[BaseException] = []
    until = time.monotonic() + 2

    def load() -> None:
        try:
            while time.monotonic() < until:
                with tripwire([]):
                    gc.collect(0)
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=load) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_guard_that_stays_suspended_is_no_success(tmp_path: Path) -> None:
    saved: list[Any] = []

    def disturb(phase: str, info: dict[str, int]) -> None:
        saved.extend(gc.callbacks)
        gc.callbacks.clear()

    with pytest.raises(TripwireError, match="switched off"), tripwire([]):  # noqa: PT012
        gc.callbacks.append(disturb)
        gc.collect()
    gc.callbacks.extend(callback for callback in saved if callback is not disturb)


# --- honest loading --------------------------------------------------------------------------------------------------


def models() -> dict[str, object]:
    rows, labels = np.random.default_rng(0).random((60, 3)), np.arange(60) % 2
    return {
        "forest": RandomForestClassifier(5, random_state=0).fit(rows, labels),
        "boosting": HistGradientBoostingClassifier(max_iter=3, categorical_features=[0]).fit(rows.round(1), labels),
        "pipeline": make_pipeline(
            ColumnTransformer([("scale", StandardScaler(), [0, 1])], remainder="passthrough"), LogisticRegression()
        ).fit(rows, labels),
        "package": {"array": np.arange(4.0), "objects": np.array(["a", None], dtype=object), "bytes": b"\xff\x00"},
    }


@pytest.mark.parametrize("name", ["forest", "boosting", "pipeline", "package"])
@pytest.mark.parametrize(
    ("protocol", "compress"),
    [(4, 0), (5, 0), (3, ("zlib", 3)), (5, ("gzip", 3)), (5, ("bz2", 1)), (5, ("xz", 1)), (5, ("lzma", 1))],
)
def test_honest_artifacts_load(name: str, protocol: int, compress: Any) -> None:
    data = dumped(models()[name], protocol=protocol, compress=compress)
    assert type(guarded(data, *names_in(data))) is type(models()[name])


class Executes:
    def __setstate__(self, state: str) -> None:
        exec(state, {})


class ExecutesAs(Executes):
    """Compiles the text under a name that hides where it comes from."""

    def __setstate__(self, state: str) -> None:
        exec(compile(state, "numpy/__init__.py", "exec"), {})


@pytest.mark.parametrize(
    "distribution", [scipy.stats.uniform(0, 1), scipy.stats.randint(1, 5)], ids=["uniform", "randint"]
)
def test_a_distribution_runs_the_text_that_was_scanned_and_no_other(distribution: Any) -> None:
    data = dumped(distribution)
    names, text = names_in(data), distribution.dist._parse_arg_template
    loaded = guarded(data, *names, sources=("another = 1", text))
    assert loaded.rvs(3, random_state=0).tolist() == distribution.rvs(3, random_state=0).tolist()
    for sources in ((), ("another = 1",), (text + "\n",), (text.strip(),)):
        with pytest.raises(TripwireError, match=r"not seen.*: compile\("):
            guarded(data, *names, sources=sources)


@pytest.mark.parametrize(
    ("cls", "ran", "stopped_at"),
    [
        (Executes, "import os\n", "compile"),
        (Executes, "listed = 2\n", "compile"),
        (ExecutesAs, "listed = 1\n", "compile"),
    ],
)
def test_text_that_is_not_the_one_scanned_does_not_run(cls: type, ran: str, stopped_at: str) -> None:
    with pytest.raises(TripwireError) as caught:
        guarded(artifact(new(cls, text(ran))), pair(cls), sources=("listed = 1\n",))
    assert caught.value.event == stopped_at


def test_code_that_was_compiled_before_runs_only_if_it_is_of_a_text_that_was_scanned() -> None:
    scanned, other = (compile(text, "<string>", "exec") for text in ("listed = 1\n", "listed = 2\n"))
    with tripwire((), sources=("listed = 1\n",)):
        exec(scanned, {})
    with pytest.raises(TripwireError, match="exec"), tripwire((), sources=("listed = 1\n",)):
        exec(other, {})


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_honest_artifacts_of_old_protocols_load_in_a_fresh_process(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps([b"\xff\x00", "ÿ", {1}], protocol=protocol))
    run_script(
        """
        import io
        from safeload._loading.tripwire import tripwire
        from safeload._loading.unpickle import load_stream
        stream = io.BufferedReader(io.FileIO(sys.argv[1]))
        with tripwire({("_codecs", "encode"), ("__builtin__", "set"), ("builtins", "set")}):
            assert load_stream(stream) == [b"\\xff\\x00", "ÿ", {1}]
        """,
        path,
    )


def run_script(source: str, *arguments: object, options: tuple[str, ...] = ("-W", "error")) -> str:
    """Run this in a new interpreter; return what it wrote to its error output."""
    done = subprocess.run(
        [sys.executable, *options, "-c", "import sys\n" + textwrap.dedent(source), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def of_another_version() -> bytes:
    data = dumped(LogisticRegression().fit([[0.0], [1.0]], [0, 1]))
    current = sklearn.__version__.encode()
    assert data.count(current) == 1
    return data.replace(current, b"0" + current[1:])


def names_in_file(data: bytes) -> set[tuple[str, str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return names_in(data)


def test_warnings_as_errors_pass_through() -> None:
    data = of_another_version()
    with pytest.raises(InconsistentVersionWarning):
        guarded(data, *names_in_file(data))


def test_a_warning_is_shown_while_loading(tmp_path: Path) -> None:
    data = of_another_version()
    path = tmp_path / "old.joblib"
    path.write_bytes(data)
    shown = run_script(
        """
        import io
        from safeload._loading.tripwire import tripwire
        from safeload._loading.unpickle import import_modules, load_stream
        allowed = eval(sys.argv[2])
        import_modules(module for module, _ in allowed)
        stream = io.BufferedReader(io.FileIO(sys.argv[1]))
        with tripwire(allowed):
            load_stream(stream)
        """,
        path,
        names_in_file(data),
        options=("-W", "always"),
    )
    assert "InconsistentVersionWarning" in shown
    assert "warnings.warn(" in shown  # the source line, which had to be read


def test_a_tripwire_that_cannot_be_set_loads_nothing() -> None:
    run_script(
        """
        def veto(event, args):
            if event == "sys.addaudithook":
                raise RuntimeError("no other hooks")
        sys.addaudithook(veto)
        from safeload.errors import TripwireError
        from safeload._loading.tripwire import tripwire
        try:
            with tripwire([]):
                raise SystemExit("was let in")
        except TripwireError as error:
            assert "keeps that of safeload from being installed" in error.message, error
        open("/dev/null", "w").close()
        """
    )


def test_a_child_forked_meanwhile_is_free() -> None:
    run_script(
        """
        import os, threading
        from safeload._loading.tripwire import tripwire
        inside, leave = threading.Event(), threading.Event()
        def load():
            with tripwire([]):
                inside.set()
                leave.wait(60)
        loading = threading.Thread(target=load)
        loading.start()
        inside.wait(60)
        child = os.fork()
        if child == 0:
            problems = []
            def work():
                try:
                    open("/dev/null", "w").close()
                except BaseException as error:
                    problems.append(error)
            work()
            for _ in range(4):
                thread = threading.Thread(target=work)
                thread.start()
                thread.join()
            os._exit(len(problems))
        leave.set()
        loading.join()
        _, status = os.waitpid(child, 0)
        raise SystemExit(os.waitstatus_to_exitcode(status))
        """,
        options=("-W", "ignore"),
    )


@pytest.mark.parametrize(
    ("module", "words"),
    [("no_such_package_here.models", "Install the package"), ("sklearn.no_such_module", "version of sklearn")],
)
def test_a_module_that_cannot_be_imported(module: str, words: str) -> None:
    with pytest.raises(VersionMismatchError, match=words) as caught:
        import_modules(["os", module])
    assert module in str(caught.value)
    assert isinstance(caught.value.__cause__, ImportError)


# --- mapped ----------------------------------------------------------------------------------------------------------


def mapped(path: Path, mode: Any, *, fd: int | None = None) -> Any:
    own = os.open(path, os.O_RDONLY) if fd is None else fd
    try:
        # Not by descriptor: what is verified reads with pread, and leaves the position alone, too.
        stream = io.BufferedReader(Pread(own, str(path)))
        allowed = names_in_file(os.pread(own, 1 << 20, 0))
        import_modules(module for module, _ in allowed)
        with tripwire(allowed, mmap_fd=own):
            return load_mapped(stream, path=str(path), fd=own, mmap_mode=mode)
    finally:
        os.close(own)


class Pread(io.RawIOBase):
    def __init__(self, fd: int, name: str) -> None:
        super().__init__()
        self.fd, self.name, self.position = fd, name, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self.position = offset + (0, self.position, os.fstat(self.fd).st_size)[whence]
        return self.position

    def readinto(self, buffer: Any) -> int:
        data = os.pread(self.fd, len(buffer), self.position)
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)


@pytest.mark.parametrize("mode", ["r", "c"])
def test_arrays_are_mapped(mode: Literal["r", "c"], tmp_path: Path) -> None:
    path = tmp_path / "ä model.joblib"
    arrays = {"c": np.arange(12.0).reshape(3, 4), "f": np.asfortranarray(np.eye(3)), "empty": np.empty((0, 2))}
    joblib.dump({**arrays, "objects": np.array(["a", None], dtype=object)}, path)
    before = path.read_bytes()
    loaded = mapped(path, mode)
    for name, array in arrays.items():
        got = loaded[name]
        np.testing.assert_array_equal(got, array)
        assert type(got) is np.memmap
        assert got.mode == mode
        assert type(got.filename) is str
        assert got.filename == str(path)
        assert got.flags.writeable == (mode == "c")
    assert loaded["objects"].tolist() == ["a", None]
    if mode == "c":
        loaded["c"][0, 0] = 99
    assert path.read_bytes() == before


def test_the_other_byte_order_stays_mapped(tmp_path: Path) -> None:
    path = tmp_path / "a.joblib"
    joblib.dump(np.arange(5, dtype=">i4"), path)
    direct, got = joblib.load(path, mmap_mode="r"), mapped(path, "r")
    assert (type(got), got.dtype, got.tolist()) == (type(direct), direct.dtype, direct.tolist())


def test_the_open_file_is_mapped_not_the_path(tmp_path: Path) -> None:
    path = tmp_path / "a.joblib"
    joblib.dump(np.zeros(100), path)
    fd = os.open(path, os.O_RDONLY)
    joblib.dump(np.ones(100), tmp_path / "other")
    (tmp_path / "other").replace(path)
    assert mapped(path, "r", fd=fd).sum() == 0


def test_mapping_takes_the_descriptor_and_a_way_that_were_agreed(tmp_path: Path) -> None:
    path = tmp_path / "a.joblib"
    joblib.dump(np.zeros(100), path)
    allowed = names_in(path.read_bytes())
    with path.open("rb") as stream, path.open("rb") as other:
        for agreed in (None, other.fileno()):
            stream.seek(0)
            with pytest.raises(TripwireError, match=r"mmap\.__new__"), tripwire(allowed, mmap_fd=agreed):
                load_mapped(stream, path=str(path), fd=stream.fileno(), mmap_mode="r")
    with path.open("r+b") as stream:
        for access in (mmap.ACCESS_WRITE, mmap.ACCESS_DEFAULT):
            with pytest.raises(TripwireError), tripwire([], mmap_fd=stream.fileno()):
                mmap.mmap(stream.fileno(), 0, access=access)
    with pytest.raises(ValueError, match="'r' or 'c'"):
        mapped(path, "r+")


class Unseekable(io.BytesIO):
    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")


def test_the_warning_of_arrays_that_are_not_aligned(tmp_path: Path) -> None:
    """Files without padding, as joblib before 1.2 wrote them; joblib prints the array in its warning."""
    buffer = Unseekable()
    joblib.dump({"misalign": np.arange(7.0)}, buffer)
    path = tmp_path / "old.joblib"
    path.write_bytes(buffer.getvalue())
    with pytest.warns(UserWarning, match="not byte aligned"):
        loaded = mapped(path, "r")
    assert loaded["misalign"].tolist() == list(range(7))


def test_workers_map_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "a.joblib"
    joblib.dump(np.ones(1000), path)
    array = mapped(path, "r")
    with joblib.parallel_backend("loky", n_jobs=2):
        results = joblib.Parallel()(joblib.delayed(workers.describe)(array, turn) for turn in range(2))
    assert results == [(1000.0, str(path))] * 2
