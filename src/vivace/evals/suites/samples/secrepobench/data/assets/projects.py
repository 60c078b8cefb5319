_default_pattern = r"(?P<status>PASS|FAIL): (?P<name>\S+)"
unittest_commands = {
    "vivacering": "mkdir -p /work && cc -o /work/tests \\\"$PWD\\\"/tests/ring_test.c ring.c && /work/tests\n",
}
unittest_patterns = {"vivacering": _default_pattern}
