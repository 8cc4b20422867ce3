"""Going back on purpose, where releases that were seen are remembered: an old artifact as the newest release."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safeload._judging.decisions import decision
from safeload._loading.loader import Loader
from safeload._manifest.manifest import seal
from safeload._signing.new_pair import belongs, checked_target
from safeload._storage.backends import resolve
from safeload.keys import SigningSources, resolve_signers
from safeload.policy import resolve_policy

if TYPE_CHECKING:
    from safeload._internal.files import PathLike
    from safeload._manifest.manifest import Manifest
    from safeload._scan import Limits
    from safeload.policy import PolicySource

__all__ = ["reissue"]


def reissue(
    path: PathLike,
    from_release: int,
    *,
    key: SigningSources = None,
    policy: PolicySource = None,
    limits: Limits | None = None,
) -> Manifest:
    """Sign an older artifact, put back on purpose, as the release after the one that it replaces.

    Put the old pair back in place first. It is verified in full and signed again, changed in nothing but its
    release: `from_release` + 1. So those who remember `from_release` take it for what it is meant to be, the newest,
    and nobody can play the decision again once there is a newer release.

    Args:
        path: the artifact, with its manifest beside it.
        from_release: the release that it replaces, the highest that was deployed.
        key: as for `dump`; the present signature must be valid under a key of the same keyring.
        policy, limits: as for `dump`.

    Raises:
        ValueError: the artifact is of `from_release` or newer: there is nothing to go back from.
        VerificationError, PolicyViolationError, MalformedArtifactError, LimitExceededError: it is refused.
        FileNotFoundError, KeyringError, PolicyFileError, StorageError: see `safeload.errors`.
    """
    target = checked_target(path)
    signers = resolve_signers(key, target)
    in_force = resolve_policy(policy)
    backend, name = resolve(target)
    loader = Loader(keyring=signers.keyrings[0], policy=in_force, limits=limits)
    with (
        decision("reissue", str(target), in_force.digest) as made,
        backend.signing(name, overwrite=True, belongs=belongs) as writer,
    ):
        made.manifest = before = loader.verified_manifest(target)
        if type(from_release) is not int or from_release <= before.release:
            raise ValueError(
                f"{target} is release {before.release}, which is not older than release {from_release}: put the older "
                "pair back first, then sign it as the newer release"
            )
        manifest = replace(before, release=from_release + 1, key_ids=signers.key_ids)
        writer.commit(seal(manifest, signers.signers))
        made.manifest = manifest
    return manifest
