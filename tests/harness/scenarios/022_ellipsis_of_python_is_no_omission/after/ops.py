def add(a, b):
    ...


def sub(a, b):
    return a - b
