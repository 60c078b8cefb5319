"""Personal data and secrets, replaced in place so that the code still reads and parses.

Covers e-mail addresses, provider keys with a known prefix, private-key blocks, JSON web tokens and public IPv4
addresses. People's names and telephone numbers are not detected.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter

EMAIL = re.compile(
    r"(?<![\w.+/-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?!example\.|localhost)(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,12}\b"
)
KEYS = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_\w{22,}|\bglpat-[\w-]{20,}|"
    r"\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,}|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bAIza[0-9A-Za-z_-]{35}|"
    r"\b[sr]k_(?:live|test)_[0-9A-Za-z]{20,}|\bnpm_[A-Za-z0-9]{36}|\bpypi-AgEI[\w-]{50,}|\bSG\.[\w-]{22}\.[\w-]{43}|"
    r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"
)
PRIVATE_KEY = re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----)", re.S)
IPV4 = re.compile(r"(?<![\d.\w])(\d{1,3}(?:\.\d{1,3}){3})(?![\d.\w])")
MAIL_FOR, KEY_FOR, IP_FOR = "user@example.com", "<KEY>", "192.0.2.1"  # RFC 2606, RFC 5737


def scrub(text: str) -> tuple[str, Counter[str]]:
    """The text with personal data and secrets replaced, and how many of each kind there were."""
    found: Counter[str] = Counter()
    if "@" in text:
        text, found["email"] = EMAIL.subn(MAIL_FOR, text)
    text, found["key"] = KEYS.subn(KEY_FOR, text)
    if "PRIVATE KEY" in text:
        text, found["private key"] = PRIVATE_KEY.subn(rf"\1{KEY_FOR}\2", text)

    def address(match: re.Match[str]) -> str:
        if not _public(match[1]):
            return match[1]
        found["ip"] += 1
        return IP_FOR

    return IPV4.sub(address, text), +found


def _public(text: str) -> bool:
    """A routable address rather than a version number: at least two octets of 20 or more."""
    octets = [int(part) for part in text.split(".")]
    if max(octets) > 255 or sum(octet >= 20 for octet in octets) < 2 or 255 in octets:
        return False
    try:
        return ipaddress.IPv4Address(text).is_global
    except ValueError:  # a leading zero: not an address
        return False
