from calc.money import split, text


def test_even():
    assert split(100, 4) == [25, 25, 25, 25]


def test_text():
    assert text(1205) == "12.05"
