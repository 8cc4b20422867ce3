"""Look for streams that the scanner allows and does not see as joblib does, for as long as it is told.

    PYTHONPATH=tools python -P -m fuzz --seconds 600 --seed 1 --compiled VENV_WITH_THE_COMPILED_WHEEL/bin/python

Real artifacts are changed and spliced: their opcodes, the values that those make, their bytes, what they are packed
into.  Each is scanned by the pure and the compiled scanner, whose reports have to be the same, and what is allowed is
loaded by joblib's own unpickler, in a process of its own, which has to name, call, make and read the same, in the same
order, and stop at the same byte.  What disagrees, crashes, or takes too long is saved; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import select
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import IO, Any

from fuzz import corpus as starting
from fuzz.mutations import change_bytes, change_tokens, pack, splice_bytes
from fuzz.streams import Token, parse

_TOOLS = Path(__file__).resolve().parents[1]
_WORKER = ("-P", "-m", "fuzz.worker")
_PATIENCE = 120  # seconds that an answer may take on a busy machine
_MOST_SAVED = 50
_MOST_SEEDS = 6000
_WARM = ("honest-compressed", "honest")  # vectors that make a scanner import all that it ever does


class Dead(Exception):
    """A worker gave no answer."""


class Worker:
    """A process that answers one artifact after the other; it is started again when it dies."""

    def __init__(self, command: list[str], log: IO[bytes]) -> None:
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def send(self, data: bytes) -> None:
        """Give it an artifact to think about."""
        if self._process is None:
            environment = os.environ | {"PYTHONPATH": str(_TOOLS)}  # safeload is what the interpreter has installed
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=environment
            )
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(struct.pack("<I", len(data)) + data)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer will not come, either

    def answer(self) -> Any:
        """Return what the worker says of what was sent.

        Raises: Dead if the worker died of it or hangs.
        """
        head = self._read(4)
        return json.loads(self._read(struct.unpack("<I", head)[0]))

    def _read(self, size: int) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        data = b""
        while len(data) < size:
            ready, _, _ = select.select([self._process.stdout], [], [], _PATIENCE)
            piece = os.read(self._process.stdout.fileno(), size - len(data)) if ready else b""
            if not piece:
                if not ready:
                    self._process.kill()
                code = self._process.wait()
                self._process = None
                raise Dead("no answer" if not ready else f"exit {code}")
            data += piece
        return data

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class _Inside:
    """The pure scanner in this process, where atheris can see what it reaches."""

    def __init__(self, policy: str) -> None:
        import atheris

        with atheris.instrument_imports(include=["safeload"]):
            from fuzz.worker import Scanner

            self._scan = Scanner(policy)
        self._data = b""

    def send(self, data: bytes) -> None:
        self._data = data

    def answer(self) -> Any:
        import traceback

        try:
            return json.loads(json.dumps(self._scan(self._data), default=list))
        except Exception:  # noqa: BLE001  # which is what is looked for
            return {"crash": traceback.format_exc()}

    def close(self) -> None:
        pass


class Judge:
    """Has an artifact scanned and loaded, and says what is wrong."""

    def __init__(
        self, policy: str, pure: str, compiled: str | None, log: IO[bytes], *, inside: _Inside | None = None
    ) -> None:
        vectors = _TOOLS.parent / "vectors" / "files"
        warm = [str(path) for kind in _WARM for path in sorted((vectors / kind).iterdir())]
        self.scanners: dict[str, Worker | _Inside] = {}
        self.scanners["pure"] = inside or Worker([pure, *_WORKER, "scan", policy, *warm], log)
        if compiled:
            self.scanners["compiled"] = Worker([compiled, *_WORKER, "scan", policy, *warm], log)
        self.loader = Worker([sys.executable, *_WORKER, "load"], log)
        self.counts: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    def close(self) -> None:
        """End all processes."""
        for worker in (*self.scanners.values(), self.loader):
            worker.close()

    def __call__(self, data: bytes, *, mapped: bool) -> tuple[str | None, dict[str, Any]]:
        """Return what is wrong, None if nothing, and the pure scanner's answer."""
        self.counts["executions"] += 1
        answers: dict[str, Any] = {}
        for scanner in self.scanners.values():
            scanner.send(data)
        for name, scanner in self.scanners.items():
            try:
                answers[name] = scanner.answer()
            except Dead as dead:
                answers[name] = {"crash": str(dead)}
        pure = answers["pure"]
        for name, answer in answers.items():
            if "crash" in answer:
                self.counts["crashes"] += 1
                return f"the {name} scanner crashed: {answer['crash']}", pure
        if "compiled" in answers and answers["compiled"] != pure:
            self.counts["disagreements"] += 1
            return f"the compiled scanner says otherwise: {_difference(pure, answers['compiled'])}", pure
        if pure["report"]["verdict"] != "allowed":
            self.counts["refused"] += 1
            self.codes[pure["report"]["findings"][0]["code"]] += 1
            return None, pure
        self.counts["allowed"] += 1
        problem = self._loads(data, pure, mapped=mapped)
        if problem is not None:
            self.counts["disagreements"] += 1
        return problem, pure

    def _loads(self, data: bytes, pure: dict[str, Any], *, mapped: bool) -> str | None:
        self.loader.send((b"m" if mapped else b"-") + data)
        try:
            loaded = self.loader.answer()
        except Dead as dead:
            return f"loading what is allowed ends the process: {dead}"
        if "crash" in loaded:
            return f"the oracle failed: {loaded['crash']}"
        if loaded["stepped"]:
            return f"loading what is allowed steps outside: {loaded['stepped']}"
        self.counts["mapped"] += mapped
        return self._compare(pure, loaded)

    def _compare(self, pure: dict[str, Any], loaded: dict[str, Any]) -> str | None:
        aliases = {(one[0], one[1]): (one[2], one[3]) for one in loaded["first"]}
        saw = [_renamed(event, aliases) for event in pure["events"]]
        did = [_renamed(event, aliases) for event in loaded["events"]]
        failed = loaded["failed"]
        if failed is not None:
            if failed["kind"] == "pickle":
                return f"joblib cannot read it: {failed['what']} {''.join(failed.get('trace', ()))}"
            # A class that was called with what it cannot use; up to there, everything is the same.
            self.counts["raised"] += 1
            self.failures[failed["what"].split(":")[0]] += 1
            if saw[: len(did)] != did:
                return f"before it raised, joblib did otherwise: {_difference(saw[: len(did)], did)}"
            return None
        self.counts["loaded"] += 1
        if saw != did:
            return f"joblib did otherwise: {_difference(saw, did)}"
        if pure["end"] != loaded["end"] or loaded["left"]:
            return f"joblib stops at {loaded['end']}, not {pure['end']}; {loaded['left']} bytes are left"
        imports = {
            aliases.get((use["module"], use["qualname"]), (use["module"], use["qualname"]))
            for use in pure["report"]["globals"]
            if "import" in use["roles"]
        }
        imported = {aliases.get((one[0], one[1]), (one[0], one[1])) for one in loaded["imported"]}
        if imports != imported:
            return f"used as values, by the scanner only: {imports - imported}, by joblib only: {imported - imports}"
        return None


def _renamed(event: list[Any], aliases: dict[tuple[str, str], tuple[str, str]]) -> tuple[Any, ...]:
    """Give an object that has several names the first of them."""
    if event[0] in ("array", "nested"):
        return tuple(event)
    return (event[0], *aliases.get((event[1], event[2]), (event[1], event[2])))


def _difference(one: Any, two: Any) -> str:
    if isinstance(one, list) and isinstance(two, list):
        for index, (left, right) in enumerate(zip(one, two, strict=False)):
            if left != right:
                return f"number {index} is {left!r}, not {right!r}"
        return f"{len(one)} things, not {len(two)}"
    if isinstance(one, dict) and isinstance(two, dict):
        for key in one.keys() | two.keys():
            if one.get(key) != two.get(key):
                return f"{key}: {_difference(one.get(key), two.get(key))}"
    return f"{one!r}, not {two!r}"[:1500]


class Pool:
    """The artifacts to change: those that it began with, and what came of them that shows something new."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.rng = rng
        self.raw = list(starting.read(folder).values())
        self.streams: list[list[Token]] = []
        self.protocols: dict[int, list[int]] = {}
        self._seen: set[str] = set()

    def add_stream(self, data: bytes, events: list[Any]) -> None:
        """Take a stream that was understood into its opcodes."""
        try:
            tokens = parse(data, events)
        except (ValueError, IndexError, KeyError):
            return
        if len(self.streams) >= _MOST_SEEDS:
            self.streams[self.rng.randrange(len(self.streams))] = tokens
            return
        self.protocols.setdefault(data[1] if data[:1] == b"\x80" else 0, []).append(len(self.streams))
        self.streams.append(tokens)

    def notice(self, data: bytes, answer: dict[str, Any]) -> None:
        """Keep what was allowed and uses globals in a way not seen before, or was refused for a new reason."""
        report = answer["report"]
        allowed = report["verdict"] == "allowed"
        if allowed:
            sign = json.dumps(
                [[[use["qualname"], sorted(use["roles"])] for use in report["globals"]], report["arrays"]]
            )
        else:
            first = report["findings"][0]
            sign = first["code"] + "".join(letter for letter in first["message"] if not letter.isdigit())[:60]
        if sign in self._seen:
            return
        self._seen.add(sign)
        if allowed and report["compression"] == "none" and len(data) < 32 << 10:
            self.add_stream(data, answer["events"])
        elif len(self.raw) < _MOST_SEEDS and len(data) < 32 << 10:
            self.raw.append(data)

    def next(self) -> bytes:
        """Return a changed artifact."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.18 or not self.streams:
            data = change_bytes(rng.choice(self.raw), rng)
        elif kind < 0.22:
            data = splice_bytes(rng.choice(self.raw), rng.choice(self.raw), rng)
        elif kind < 0.25:
            data = pack(rng.choice(self.raw), rng)
        else:
            index = rng.randrange(len(self.streams))
            same = next((group for group in self.protocols.values() if index in group[:200]), None)
            donor = rng.choice(same) if same and rng.random() < 0.8 else rng.randrange(len(self.streams))
            data = change_tokens(self.streams[index], self.streams[donor], rng)
            if rng.random() < 0.12:
                data = pack(data, rng)
        return data


class Fuzzer:
    """Runs until its time is over, and tells what it found."""

    def __init__(self, judge: Judge, pool: Pool, out: Path) -> None:
        self.judge = judge
        self.pool = pool
        self.out = out
        self.saved: Counter[str] = Counter()
        self.started = time.monotonic()

    def begin(self) -> None:
        """Judge what it begins with as it is, and take the opcodes of what is allowed."""
        for data in list(self.pool.raw):
            answer = self.judge_one(data)
            if answer.get("report", {}).get("verdict") == "allowed" and answer["report"]["compression"] == "none":
                self.pool.add_stream(data, answer["events"])
                self.pool.notice(data, answer)

    def judge_one(self, data: bytes) -> dict[str, Any]:
        """Judge an artifact, and save it if something is wrong; return what the pure scanner says."""
        mapped = self.pool.rng.random() < 0.25
        problem, answer = self.judge(data, mapped=mapped)
        if problem is not None:
            self.save(data, problem, answer, mapped=mapped)
        return answer

    def step(self) -> None:
        """Change an artifact, and judge what comes of it."""
        data = self.pool.next()
        answer = self.judge_one(data)
        if "report" in answer:
            self.pool.notice(data, answer)

    def save(self, data: bytes, problem: str, answer: dict[str, Any], *, mapped: bool) -> None:
        """Keep what is wrong, the first few of each kind."""
        kind = "".join(letter for letter in problem.partition("\n")[0] if not letter.isdigit())[:100]
        self.saved[kind] += 1
        if self.saved[kind] > 3 or len(self.saved) > _MOST_SAVED:
            return
        self.out.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(data).hexdigest()[:16]
        (self.out / f"{name}.bin").write_bytes(data)
        about = {"problem": problem, "mapped": mapped, "report": answer.get("report")}
        (self.out / f"{name}.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
        print(f"{self.out / name}.bin: {problem[:400]}", flush=True)

    def summary(self) -> int:
        """Print what was done; return the exit code."""
        counts = self.judge.counts
        seconds = time.monotonic() - self.started
        rate = counts["executions"] / max(seconds, 0.001)
        print(f"executions     {counts['executions']} ({rate:.0f} a second, {seconds:.0f} s)")
        print(f"allowed        {counts['allowed']}, of which joblib loaded {counts['loaded']} to the end,"
              f" {counts['raised']} until a class raised; {counts['mapped']} memory-mapped")  # fmt: skip
        print(f"refused        {counts['refused']}: " + ", ".join(
            f"{code} {count}" for code, count in sorted(self.judge.codes.items())))  # fmt: skip
        print(f"raised         {', '.join(f'{name} {count}' for name, count in self.judge.failures.most_common(12))}")
        print(f"crashes        {counts['crashes']}")
        print(f"disagreements  {counts['disagreements']}", flush=True)
        return 1 if counts["crashes"] or counts["disagreements"] else 0


def _replay(judge: Judge, files: list[Path]) -> int:
    bad = 0
    for path in files:
        for mapped in (False, True):
            problem, _ = judge(path.read_bytes(), mapped=mapped)
            bad += problem is not None
            print(f"{path}{' (mapped)' if mapped else ''}: {problem or 'agreed'}")
    return 1 if bad else 0


def _with_atheris(fuzzer: Fuzzer, options: argparse.Namespace, folder: Path) -> None:
    """Let atheris choose what to change, by what the pure scanner reaches; does not return."""
    import atheris

    pool = fuzzer.pool
    deadline = fuzzer.started + options.seconds

    def one_input(data: bytes) -> None:
        answer = fuzzer.judge_one(data)
        if "report" in answer:
            pool.notice(data, answer)
        if time.monotonic() > deadline:
            code = fuzzer.summary()
            fuzzer.judge.close()
            os._exit(code)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        pool.rng.seed(seed)
        if pool.rng.random() < 0.4:
            return bytes(atheris.Mutate(data, len(data)))[:max_size] if data else pool.next()[:max_size]
        made = pool.next() if pool.rng.random() < 0.5 else change_bytes(data, pool.rng)
        return made[:max_size]

    arguments = [sys.argv[0], f"-seed={options.seed or 1}", "-max_len=40000", "-rss_limit_mb=8000", "-timeout=300",
                 "-print_final_stats=1", "-verbosity=0", str(folder)]  # fmt: skip
    atheris.Setup(arguments, one_input, custom_mutator=mutate)
    atheris.Fuzz()


def main() -> int:
    """Run as the arguments say; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long to look (60)")
    parser.add_argument("--most", type=int, default=sys.maxsize, help="stop after so many artifacts, if that is sooner")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (0)")
    parser.add_argument("--corpus", type=Path, help="artifacts to begin with; filled with real ones if it is empty")
    parser.add_argument("--out", type=Path, default=Path("fuzz-out"), help="where to save what was found (fuzz-out)")
    parser.add_argument("--pure", metavar="PYTHON", default=sys.executable, help="an interpreter with safeload (this)")
    parser.add_argument("--compiled", metavar="PYTHON", help="another one, which has the compiled wheel")
    parser.add_argument("--policy", default="sklearn")
    parser.add_argument("--engine", choices=("own", "atheris"), default="own", help="what chooses the changes (own)")
    parser.add_argument("--replay", type=Path, nargs="+", metavar="FILE", help="judge these files as they are, only")
    options = parser.parse_args()
    out = options.out.resolve()
    with tempfile.TemporaryDirectory(prefix="safeload-fuzz-") as scratch:
        folder = options.corpus or Path(scratch) / "corpus"
        if not options.replay and not (folder.is_dir() and any(folder.iterdir())):
            starting.fill(folder)
        with (Path(scratch) / "log").open("wb") as log:
            inside = _Inside(options.policy) if options.engine == "atheris" else None
            judge = Judge(options.policy, options.pure, options.compiled, log, inside=inside)
            try:
                if options.replay:
                    return _replay(judge, options.replay)
                fuzzer = Fuzzer(judge, Pool(folder, random.Random(options.seed)), out)
                fuzzer.begin()
                if options.engine == "atheris":
                    _with_atheris(fuzzer, options, folder)
                while time.monotonic() - fuzzer.started < options.seconds and judge.counts["executions"] < options.most:
                    fuzzer.step()
                return fuzzer.summary()
            finally:
                judge.close()


if __name__ == "__main__":
    sys.exit(main())
