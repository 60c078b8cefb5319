"""Personal data and secrets go, look-alikes stay."""

from __future__ import annotations

import pytest

from vivace.core.scrub import scrub

NO_ADDRESS = "version 1.2.3.4, 127.0.0.1, 192.168.30.40, 999.20.30.40"


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("mail jane.doe+x@corp.co.uk now", "mail user@example.com now"),
        ("bob@example.org", "bob@example.org"),
        ("@pytest.fixture\n", "@pytest.fixture\n"),
        ("a @ b.T", "a @ b.T"),
        ("key = 'AKIAABCDEFGHIJKLMNOP'", "key = '<KEY>'"),
        ("t = 'ghp_" + "a1" * 18 + "'", "t = '<KEY>'"),
        ("risk-free-" + "a" * 40, "risk-free-" + "a" * 40),
        ("host 93.184.216.34 up", "host 192.0.2.1 up"),
        (NO_ADDRESS, NO_ADDRESS),
    ],
)  # fmt: skip
def test_scrub(text: str, after: str) -> None:
    assert scrub(text)[0] == after


def test_private_key_blocks_lose_their_body_and_are_counted() -> None:
    text, found = scrub("'''-----BEGIN RSA PRIVATE KEY-----\nMIIabc\nxyz\n-----END RSA PRIVATE KEY-----'''")
    assert text == "'''-----BEGIN RSA PRIVATE KEY-----<KEY>-----END RSA PRIVATE KEY-----'''"
    assert found == {"private key": 1}
