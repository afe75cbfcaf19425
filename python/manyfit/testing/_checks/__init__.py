"""The checks, by theme; each function is one promise."""
