#!/usr/bin/env python3
"""A TCP proxy that can be told to misbehave. Tests use it to make an S3 server unreachable.

    proxy.py HOST:PORT

Prints its own port, on loopback, and then obeys commands on standard input, one per line. It answers each
with a line:

    pass      connections are forwarded to HOST:PORT
    refuse    nobody listens, and open connections are reset
    stall     connections are accepted, but no byte gets through in either direction
    slow      uploads pass at about 2 MB/s

Ends with its standard input, that is, with the test that started it.
"""
import socket
import struct
import sys
import threading
import time

target = sys.argv[1].rsplit(":", 1)
passing = threading.Event()
passing.set()
slow = threading.Event()
lock = threading.Lock()
open_sockets = set()


def close(sock):
    with lock:
        open_sockets.discard(sock)
    # Resets the connection, as if the host were gone, in place of an orderly end.
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()


def pump(source, sink):
    try:
        while data := source.recv(65536):
            passing.wait()
            if slow.is_set():
                time.sleep(len(data) / 2e6)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        close(source)
        close(sink)


def serve(client):
    passing.wait()
    try:
        server = socket.create_connection((target[0], int(target[1])))
    except OSError:
        close(client)
        return
    with lock:
        open_sockets.add(server)
    for sock in (client, server):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    other_way = threading.Thread(target=pump, args=(server, client), daemon=True)
    other_way.start()
    pump(client, server)
    other_way.join()
    close(client)
    close(server)


def accept_loop(listener):
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with lock:
            open_sockets.add(client)
        threading.Thread(target=serve, args=(client,), daemon=True).start()


def listen(port):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    threading.Thread(target=accept_loop, args=(listener,), daemon=True).start()
    return listener


def stop_listening(listener):
    # close() alone would leave the thread in accept() with a port that still answers.
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    with lock:
        sockets = list(open_sockets)
    for sock in sockets:
        close(sock)


listener = listen(0)
port = listener.getsockname()[1]
print(port, flush=True)
for line in sys.stdin:
    command = line.strip()
    if command == "refuse":
        if listener is not None:
            stop_listening(listener)
            listener = None
    elif command in ("pass", "stall", "slow"):
        slow.clear()
        passing.set()
        if command == "slow":
            slow.set()
        elif command == "stall":
            passing.clear()
        if listener is None:
            listener = listen(port)
    else:
        sys.exit(f"proxy.py: unknown command {command!r}")
    print(command, flush=True)
