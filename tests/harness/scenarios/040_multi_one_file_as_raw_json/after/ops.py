def add(c, d):
    return a - b


def sub(c, d):
    return a - b
