def test_a():
    assert 1 + 1 == 3
