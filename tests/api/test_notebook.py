"""What values show in a console and in a notebook: short, escaped, and never a secret."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

import safeload
from safeload import Keyring, Loader, Policy, SigningKey, Store

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("own_home")

HOSTILE = "<script>alert('x')</script>&"


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)


@pytest.fixture
def values(tmp_path: Path, key: SigningKey, pipeline: Any) -> list[Any]:
    name = "<script>model&.joblib"
    path = tmp_path / name
    manifest = safeload.dump(pipeline, path, key=key, metadata={"note": HOSTILE}, version=HOSTILE)
    policy = Policy.from_text(
        f'name = "{HOSTILE}"\nversion = 1\ndescription = "{HOSTILE}"\n'
        '[[allow]]\nmodule = "a"\nnames = ["B"]\nreason = "x"\n',
        origin=HOSTILE,
    )
    loader = Loader(keyring=key)
    ring = Keyring.from_keys([key])
    refused = safeload.scan(path, policy=policy)
    assert refused.findings
    with loader.watch(path) as watch:
        return [
            safeload.verify(path, keyring=key), refused, manifest, policy, Policy.load("sklearn"), loader, watch, ring,
            Store(tmp_path / HOSTILE.replace("/", ""), key=key), key, key.verifying_key,
        ]  # fmt: skip


def test_texts_are_short_escaped_and_without_secrets(values: list[Any], key: SigningKey) -> None:
    secret = key.reveal()
    spelt = (
        secret.hex(),
        base64.b64encode(secret).decode(),
        base64.urlsafe_b64encode(secret).decode(),
        repr(secret)[2:-1],
    )
    for value in values:
        page = value._repr_html_()
        assert Tags(page).found == {"table", "caption", "tbody", "tr", "th", "td"}, type(value)
        assert len(repr(value)) < 300
        assert "\n" not in repr(value)
        for text in (repr(value), page):
            assert not any(one in text for one in spelt)


def test_they_say_what_matters(values: list[Any], key: SigningKey) -> None:
    allowed, refused, manifest, _, sklearn, loader, watch, *_ = values
    assert repr(allowed).startswith("<Report allowed ")
    assert repr(refused).startswith("<Report refused ")
    assert "SL401" in repr(refused)
    assert "SL401" in refused._repr_html_()
    assert "release 1" in repr(manifest)
    assert key.key_id in repr(manifest)
    assert manifest.sha256 in manifest._repr_html_()
    assert sklearn.digest in sklearn._repr_html_()
    assert key.key_id in loader._repr_html_()
    assert "release 1" in repr(watch)
