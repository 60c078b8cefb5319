"""Amounts of money in cents."""


def split(total, parts):
    """Shares that differ by a cent at most and add up to the total."""
    return [total // parts] * parts


def text(cents):
    """Euros and cents."""
    return f"{cents // 100}.{cents % 100:02d}"
