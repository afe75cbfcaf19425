supported: tuple[str, ...]
