"""A load balancer that says who its clients are: forwarder.py BIND PORT TARGET PORT CLIENT

Each connection is carried to the target, behind a PROXY protocol header of version 2 that gives
CLIENT, an IPv4 address, as its source. Prints `listening`; ends when its standard input does.
"""

import contextlib
import os
import socket
import struct
import sys
import threading

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PROXY_TCP4 = b"\x21\x11"


def main():
    bind, port, target, target_port, client = sys.argv[1:]
    server = socket.create_server((bind, int(port)), backlog=128)
    print("listening", flush=True)
    accepting = threading.Thread(
        target=accept, args=(server, (target, int(target_port)), client), daemon=True
    )
    accepting.start()
    sys.stdin.read()
    # Threads may wait for connections that nobody ends.
    os._exit(0)


def accept(server, target, client):
    while True:
        near, (_, port) = server.accept()
        threading.Thread(target=carry, args=(near, port, target, client), daemon=True).start()


def carry(near, port, target, client):
    with near, contextlib.suppress(OSError), socket.create_connection(target, 10) as far:
        far.settimeout(None)
        far.sendall(header(client, port, target))
        back = threading.Thread(target=copy, args=(far, near), daemon=True)
        back.start()
        copy(near, far)
        back.join()


def header(client, port, target):
    addresses = socket.inet_aton(client) + socket.inet_aton(target[0])
    body = addresses + struct.pack(">HH", port, target[1])
    return SIGNATURE + PROXY_TCP4 + struct.pack(">H", len(body)) + body


def copy(source, sink):
    with contextlib.suppress(OSError):
        while part := source.recv(65536):
            sink.sendall(part)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main()
