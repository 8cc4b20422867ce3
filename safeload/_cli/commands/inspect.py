"""inspect: everything that can be said about one artifact without unpickling it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from safeload._cli.exit_codes import ERROR, worst
from safeload._cli.options.common import PATH, Standard, debug_option, keyring_option, output_options, standard_options
from safeload._cli.report.deliver import deliver_facts, deliver_lines
from safeload._cli.report.files import Output, check_output
from safeload._cli.report.result import Result, failure, judged, manifest_dict, summary
from safeload._cli.report.second_opinion import look_deeper, look_lines
from safeload._cli.report.text import finding_lines, suggestion_lines
from safeload._cli.terminal import Painter, human_size, plain, table
from safeload.errors import KeyringError, StorageError, UnsignedError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeload._scan import Limits

__all__ = ["inspect"]

_MAX_METADATA_LINES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signature:
    """What is known of an artifact's manifest.

    `state` is "verified", "unsigned", "invalid" (checked, and refused) or "unchecked" (no keyring to check it with);
    `manifest` is what it says, which only if verified is more than a claim.
    """

    state: str
    reason: str = ""
    advice: str | None = None
    manifest: dict[str, Any] | None = None


@click.command(short_help="Show what one artifact holds, without loading it.")
@click.argument("path", metavar="FILE", type=PATH)
@keyring_option
@click.option("--opcodes", is_flag=True, help="Show every opcode, with the globals that it uses, and the arrays.")
@click.option("--decompile", is_flag=True, help="Show the Python program that fickling makes of it.")
@standard_options
@output_options
@debug_option
def inspect(
    path: str,
    keyring: str | None,
    opcodes: bool,
    decompile: bool,
    standard: Standard,
    out: Output,
) -> int:
    """Show what one artifact holds and what its manifest says, without unpickling anything.

    The manifest is checked with the keyring if there is one; else it is shown as the claim that it is.
    """
    import safeload

    check_output(out, [path])
    policy, limits = standard.load()
    try:
        result = judged(path, safeload.scan(path, policy=policy, limits=limits))
    except (OSError, StorageError) as error:
        deliver_lines(
            [failure(path, error)], lambda *_: (), command="inspect", out=out,
            extra={"signature": None},
        )  # fmt: skip
        return ERROR
    signature = _signature(path, keyring, limits)
    deeper = look_deeper(path, policy, limits, opcodes=opcodes, program=decompile)
    content = {
        "summary": summary([result]),
        "signature": {"state": signature.state, "reason": signature.reason or None, "advice": signature.advice},
        "results": [{**result.to_dict(), "manifest": signature.manifest, **deeper}],
    }

    def lines(paint: Painter) -> Iterator[str]:
        yield from _lines(result, signature, paint, quiet=out.quiet)
        yield from look_lines(deeper, paint)
        yield from suggestion_lines([result], standard.policy)

    deliver_facts(content, lines, command="inspect", out=out)
    return worst([result.verdict, "refused" if signature.state == "invalid" else "allowed"])


def _signature(path: str, keyring: str | None, limits: Limits) -> _Signature:
    """Check the manifest as far as can be done.

    Raises:
        KeyringError: the keyring that was named cannot be used.
    """
    import safeload
    from safeload.keys import resolve_keyring

    try:
        ring = resolve_keyring(keyring)
    except KeyringError as error:
        if keyring is not None:
            raise
        claim = _claim(path)
        if claim is None:
            return _Signature(state="unsigned", reason="there is no manifest beside it")
        return _Signature(state="unchecked", reason=error.describe(""), advice=error.advice, manifest=claim)
    try:
        manifest = safeload.read_manifest(path, keyring=ring)
        report = safeload.verify(path, keyring=ring, limits=limits, any_environment=True)
    except UnsignedError as error:
        return _Signature(state="unsigned", reason=error.describe(path), advice=error.advice)
    except VerificationError as error:
        return _Signature(state="invalid", reason=error.describe(path), advice=error.advice, manifest=_claim(path))
    described = manifest_dict(manifest)
    if report.manifest is None:  # signed, but not these bytes
        first = report.findings[0]
        return _Signature(state="invalid", reason=first.message, advice=first.advice, manifest=described)
    return _Signature(state="verified", manifest=described)


def _claim(path: str) -> dict[str, Any] | None:
    """Return the content of the manifest, which is not verified; None without one, and {} if it cannot be read."""
    from safeload._manifest.manifest import unverified_manifest
    from safeload._storage.opening import read_envelope_bytes
    from safeload._storage.pair import manifest_path

    try:
        manifest = unverified_manifest(read_envelope_bytes(manifest_path(path)))
    except UnsignedError:
        return None
    except VerificationError:
        return {}
    return {} if manifest is None else manifest_dict(manifest)


# ------------------------------------------------------------------------------------------------- rendering


def _lines(result: Result, signature: _Signature, paint: Painter, *, quiet: bool) -> Iterator[str]:
    verdict = "refused" if signature.state == "invalid" else result.verdict
    yield f"{paint.verdict(verdict)}  {paint(plain(result.path), bold=True)}"
    yield from finding_lines(result, paint)
    yield ""
    yield from _signature_lines(signature, paint)
    if quiet:
        return
    yield ""
    yield from _heading("file", paint)
    yield from _pairs(_file_facts(result.data))
    if signature.manifest:
        yield ""
        title = "manifest" if signature.state == "verified" else "manifest: what it says is NOT VERIFIED of this file"
        yield from _heading(title, paint)
        yield from _pairs(_manifest_facts(signature.manifest))
        yield from _metadata(signature.manifest["metadata"])
    yield ""
    yield from _heading("globals that its pickle names", paint)
    yield from _global_lines(result.data, paint)


def _signature_lines(signature: _Signature, paint: Painter) -> Iterator[str]:
    keys = ", ".join((signature.manifest or {}).get("key_ids", ()))
    if signature.state == "verified":
        yield f"{paint('signature', bold=True)}: {paint('verified', 'green')} under key {plain(keys)}"
        return
    said = {
        "unsigned": ("none", "yellow"),
        "invalid": ("REFUSED", "red"),
        "unchecked": ("NOT VERIFIED, no keyring to check it with", "yellow"),
    }
    word, colour = said[signature.state]
    yield f"{paint('signature', bold=True)}: {paint(word, colour)}"
    for line in signature.reason.split("\n"):
        yield f"  {plain(line)}"
    for line in signature.advice.split("\n") if signature.advice else ():
        yield f"  {paint(plain(line), 'cyan')}"


def _heading(text: str, paint: Painter) -> Iterator[str]:
    yield paint(text, bold=True)


def _pairs(pairs: list[tuple[str, str]]) -> Iterator[str]:
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        yield f"  {name:<{width}}  {plain(value)}"


def _file_facts(data: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("size", f"{human_size(data['size'])} ({data['size']})" if data["size"] >= 1000 else human_size(data["size"])),
        ("format", data["format"] or "unknown"),
        ("compression", data["compression"] or "unknown"),
        ("protocol", "unknown" if data["protocol"] is None else str(data["protocol"])),
        ("opcodes", str(data["opcodes"])),
        ("arrays", str(data["arrays"])),
        ("policy", f"{data['policy']['name']} ({data['policy']['digest']})"),
    ]


def _manifest_facts(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    producer = manifest["producer"]
    packages = ", ".join(f"{name} {version}" for name, version in producer["packages"].items())
    scan = manifest["scan"]
    return [
        ("name", manifest["artifact"]["name"]),
        ("release", str(manifest["release"])),
        *([("version", manifest["version"])] if "version" in manifest else []),
        ("created", manifest["created"]),
        ("expires", manifest.get("expires", "never")),
        ("signed by", ", ".join(manifest["key_ids"])),
        ("sha256", manifest["sha256"]),
        ("python", f"{producer['python']} on {producer['platform']}"),
        ("packages", packages or "unknown"),
        ("policy", f"{scan['policy']['name']} ({scan['policy']['digest']})"),
    ]


def _metadata(metadata: dict[str, Any]) -> Iterator[str]:
    if not metadata:
        return
    yield "  metadata"
    lines = json.dumps(metadata, indent=2, ensure_ascii=False).split("\n")
    for line in lines[:_MAX_METADATA_LINES]:
        yield f"    {plain(line)}"
    if len(lines) > _MAX_METADATA_LINES:
        yield f"    … and {len(lines) - _MAX_METADATA_LINES} more lines: --format json has them all"


def _global_lines(data: dict[str, Any], paint: Painter) -> Iterator[str]:
    if not data["globals"]:
        yield "  none"
        return
    against: dict[str, list[str]] = {}
    for finding in data["findings"]:
        if finding["global_name"] is not None:
            against.setdefault(finding["global_name"], []).append(f"{finding['code']} {finding['title']}")
    rows = []
    for use in data["globals"]:
        name = f"{use['module']}.{use['qualname']}"
        found = against.get(name)
        rows.append((name, ", ".join(use["roles"]), ", ".join(dict.fromkeys(found)) if found else "allowed"))
    yield table(paint, ("global", "roles", "policy"), rows, indent="  ")
