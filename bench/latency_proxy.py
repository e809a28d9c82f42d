#!/usr/bin/env python3
"""A TCP proxy that adds latency: every byte arrives later, as over a long line of unlimited bandwidth.

  latency_proxy.py MILLISECONDS HOST:PORT

Prints its own port, on loopback, and runs until it is terminated. A connection is accepted one round trip
late, and each direction delays its data by half a round trip. So a request takes one round trip more, and a TLS
handshake as many as it needs. Connections do not wait for each other. The proxy forwards bytes without
understanding them. Data that was sent together arrives together.
"""

import asyncio
import socket
import sys

CHUNK = 1 << 18
# The most chunks under way in one direction of a connection. This is more than a link of 1 Gb/s
# holds.
CHUNKS_UNDER_WAY = 64


async def carry(reader, writer, delay):
    """One direction, until its sender has finished."""
    under_way = asyncio.Queue(CHUNKS_UNDER_WAY)
    clock = asyncio.get_running_loop().time

    async def deliver():
        while True:
            due, chunk = await under_way.get()
            await asyncio.sleep(due - clock())
            if not chunk:
                writer.write_eof()
                return
            writer.write(chunk)
            await writer.drain()

    delivery = asyncio.create_task(deliver())
    try:
        chunk = b"begin"
        while chunk and not delivery.done():
            chunk = await reader.read(CHUNK)
            await under_way.put((clock() + delay, chunk))
        await delivery
    finally:
        delivery.cancel()


async def serve(near_reader, near_writer, delay, target):
    far_writer = None
    try:
        # The client believes that it is connected. What it sends waits for one round trip, the time
        # to connect.
        await asyncio.sleep(2 * delay)
        far_reader, far_writer = await asyncio.open_connection(*target, limit=CHUNK)
        for writer in (near_writer, far_writer):
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.gather(carry(near_reader, far_writer, delay), carry(far_reader, near_writer, delay))
    except OSError:
        pass  # One side has closed, and the other is told.
    finally:
        for writer in (near_writer, far_writer):
            if writer:
                writer.close()


async def main():
    delay = float(sys.argv[1]) / 2000
    host, port = sys.argv[2].rsplit(":", 1)
    server = await asyncio.start_server(lambda *both: serve(*both, delay, (host, int(port))), "127.0.0.1", 0,
                                        limit=CHUNK, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
