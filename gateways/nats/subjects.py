"""Subject filters, with the meaning that NATS gives them."""


def matches(subject_filter: str, subject: str) -> bool:
    """Return whether a subject fits a filter: `*` stands for one token, `>` for one or more at
    the end.
    """
    tokens = subject.split(".")
    wanted = subject_filter.split(".")
    for index, token in enumerate(wanted):
        if token == ">":
            return len(tokens) > index
        if index >= len(tokens) or token not in ("*", tokens[index]):
            return False
    return len(tokens) == len(wanted)
