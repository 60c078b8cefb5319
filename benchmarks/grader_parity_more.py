def graders(amo):
    return {}
