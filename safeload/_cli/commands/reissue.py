"""reissue: sign an older artifact, put back on purpose, as the newest release."""

from __future__ import annotations

import click

from safeload._cli.failures import CommandError
from safeload._cli.options.common import PATH, Standard, debug_option, keyring_option, output_options, standard_options
from safeload._cli.options.passphrases import passphrase_option, signing_keyring
from safeload._cli.report.deliver import deliver_facts
from safeload._cli.report.files import Output, check_output
from safeload._cli.report.result import manifest_dict
from safeload._cli.terminal import plain

__all__ = ["reissue"]


@click.command(short_help="Sign an older artifact, put back on purpose, as the newest release.")
@click.argument("path", type=PATH, metavar="PATH")
@click.option(
    "--from-release",
    metavar="N",
    type=click.IntRange(min=1),
    required=True,
    help="The release that it replaces: the highest that was deployed.",
)
@keyring_option
@passphrase_option
@standard_options
@output_options
@debug_option
def reissue(
    path: str,
    from_release: int,
    keyring: str | None,
    passphrase_fd: int | None,
    standard: Standard,
    out: Output,
) -> int:
    """Go back to an older artifact where the newest release is remembered.

    Put the older artifact and its manifest back in place first. It is verified in full, and signed again as release
    N + 1, changed in nothing else. So hosts that remember release N take it, and the next release counts on from it.

    For models in a store there is safeload store rollback.
    """
    from safeload._signing.reissue import reissue as sign_again

    check_output(out, [path])
    policy, limits = standard.load()
    ring = signing_keyring(keyring, passphrase_fd)
    try:
        manifest = sign_again(path, from_release, key=ring, policy=policy, limits=limits)
    except ValueError as error:  # about the release of the existing manifest
        raise CommandError(str(error)) from None
    version = "" if manifest.version is None else f" (version {manifest.version})"
    done = (
        f"{plain(path)}{plain(version)} is release {manifest.release} now: "
        f"readers who remember release {from_release} go back to it"
    )
    content = {"path": path, "from_release": from_release, "manifest": manifest_dict(manifest)}
    deliver_facts(content, lambda _: () if out.quiet else (done,), command="reissue", out=out)
    return 0
