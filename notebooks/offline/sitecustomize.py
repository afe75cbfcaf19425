"""Put on PYTHONPATH, this keeps Python off the network: a lesson that would download something fails at once.

Only this machine can be reached. (The kernel's own messages do not pass through Python's sockets.)
"""

import sys


def _refuse(event: str, arguments: tuple) -> None:
    if event == "socket.connect":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else "localhost"  # else: a file, as Unix sockets have
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if host not in (None, "", "localhost", "::1") and not str(host).startswith("127."):
        raise OSError(f"lessons run without the network, but {host} was asked for")


sys.addaudithook(_refuse)
