"""Licences are read from wheels as they are in the wild; doubt is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from wheels_by_hand import make_wheel, pin_of

from vivace.core.errors import BadInput
from vivace.data.licence import allowed, wheel_licence
from vivace.data.selection import check_licence

BSD = "Redistribution and use in source and binary forms ... are permitted"
BSD3 = BSD + " ... used to endorse or promote\n products"
CLASSIFIER = "Classifier: License :: OSI Approved :: "


@pytest.mark.parametrize(
    ("header", "notice", "spdx"),
    [
        ("License-Expression: Apache-2.0 OR BSD-2-Clause", "", "Apache-2.0 OR BSD-2-Clause"),
        ("License: The MIT License (MIT)", "", "MIT"),
        ("License: Apache License, Version 2.0", "", "Apache-2.0"),
        ("License: MPL-2.0", "", "MPL-2.0"),
        ("License: BSD", BSD3, "BSD-3-Clause"),
        (CLASSIFIER + "BSD License", BSD, "BSD-2-Clause"),
        ("License: see file\n" + CLASSIFIER + "ISC License (ISCL)", "", "ISC"),
        (CLASSIFIER + "MIT License\n" + CLASSIFIER + "Apache Software License", "", "MIT AND Apache-2.0"),
    ],
)
def test_licence_of_a_wheel(tmp_path: Path, header: str, notice: str, spdx: str) -> None:
    assert wheel_licence(make_wheel(tmp_path, "pkg", {}, header, notice)) == spdx


@pytest.mark.parametrize("header", ["License: BSD", "Author: nobody"])
def test_an_unclear_licence_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(BadInput, match="leave"):
        wheel_licence(make_wheel(tmp_path, "pkg", {}, header))


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("MIT", True), ("GPL-3.0-only", False), ("Apache-2.0 OR GPL-2.0-or-later", True), ("MIT AND MPL-2.0", False),
        ("MIT AND MPL-2.0 OR ISC", True), ("(MIT OR GPL-2.0-only) AND ISC", False),
        ("unknown (GNU General Public License (GPL))", False),
    ],
)
def test_allow_list(expression: str, answer: bool) -> None:
    assert allowed(expression) is answer


def test_a_wheel_must_say_what_the_manifest_says(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "pkg", {}, "License-Expression: MPL-2.0")
    with pytest.raises(BadInput, match="the manifest MIT"):
        check_licence(wheel, pin_of(wheel, "MIT"))
    with pytest.raises(BadInput, match="allow-list"):
        check_licence(wheel, pin_of(wheel, "MPL-2.0"))
