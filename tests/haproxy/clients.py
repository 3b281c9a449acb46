"""For closed.py of HAProxy and of Envoy: a steady load, connections that are held open, and a proxy before HAProxy's Runtime API."""
import asyncio
import collections
import contextlib
import http.client
import threading
import time

CONNECTIONS_OF_LOAD = 8


class Users:
    """Clients in an event loop of their own thread: a steady load on every front, and connections that are held open."""

    def __init__(self, rate):
        self.rate, self.answers, self.stopping = rate, collections.defaultdict(list), False
        self.loop, self.tasks = asyncio.new_event_loop(), []
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def load(self, front, port):
        for number in range(CONNECTIONS_OF_LOAD):
            # Kept: the loop itself forgets tasks that nobody holds.
            self.tasks.append(asyncio.run_coroutine_threadsafe(self.ask(front, port, number), self.loop))

    async def ask(self, front, port, number):
        pause_s, writer = CONNECTIONS_OF_LOAD / self.rate, None
        due = time.monotonic() + number * pause_s / CONNECTIONS_OF_LOAD
        while not self.stopping:
            await asyncio.sleep(max(0, due - time.monotonic()))
            due += pause_s
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                code, server, closes = await request(reader, writer, "/")
            except (OSError, asyncio.IncompleteReadError) as error:
                code, server, closes = type(error).__name__, "-", True
            self.answers[front].append((time.time(), code, server))
            if closes:
                writer = writer and writer.close()

    def failures(self, front, since, until):
        return [answer for answer in self.answers[front] if since <= answer[0] < until and answer[1] != 200]

    def hold(self, port, count, sleep_ms):
        """Opens connections: the even ones idle after a request, the odd ones with a request in flight; returns them."""
        return asyncio.run_coroutine_threadsafe(Held.open(port, count, sleep_ms), self.loop).result(30)

    def finish(self, held):
        return asyncio.run_coroutine_threadsafe(held.finish(), self.loop).result(60)


class Held:
    """Connections that are open while a server is taken out."""

    @classmethod
    async def open(cls, port, count, sleep_ms):
        self = cls()
        self.idle, self.busy = [], []
        for number in range(count):
            connection = await asyncio.open_connection("127.0.0.1", port)
            if number % 2:
                self.busy.append(asyncio.ensure_future(ended(*connection, f"/sleep/{sleep_ms}")))
            else:
                await request(*connection, "/")
                self.idle.append(connection)
        return self

    async def finish(self):
        """How each ended: the requests in flight, and a further one of those that were idle."""
        ends = collections.Counter()

        for answer in await asyncio.gather(*self.busy):
            ends["in flight", *answer] += 1
        for answer in await asyncio.gather(*[ended(*connection, "/") for connection in self.idle]):
            ends["idle", *answer] += 1
        return ends


async def ended(reader, writer, path):
    """What became of a request: its status, or what went wrong, and whether the connection goes on."""
    try:
        code, _, closes = await request(reader, writer, path)
        return code, "closes" if closes else "stays"
    except (OSError, asyncio.IncompleteReadError) as error:
        return type(error).__name__, "closes"


async def request(reader, writer, path):
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.split("content-length:")[1].split("\r\n")[0]) if "content-length:" in head else 0
    await reader.readexactly(length)
    server = head.split("x-server:")[1].split("\r\n")[0].strip() if "x-server:" in head else "-"
    return int(head[9:12]), server, "connection: close" in head or "content-length:" not in head


def control(port, mode):
    """Tells a server (server.py) on a port how it is to answer."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", f"/_ctl/{mode}")
        connection.getresponse().read()


class Proxy:
    """In front of HAProxy's Runtime API: passes everything on, and writes down what HAProxy was told, and when."""

    def __init__(self, users, scratch):
        self.target, self.path, self.told = scratch / "admin.sock", scratch / "proxy.sock", []
        asyncio.run_coroutine_threadsafe(asyncio.start_unix_server(self.talk, self.path), users.loop).result(5)

    async def talk(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.TimeoutError), contextlib.closing(writer):
            question = await reader.readline()
            there, out = await asyncio.open_unix_connection(self.target)
            out.write(question)
            answer = await there.read()
            out.close()
            self.told.append((time.time(), question.decode().strip(), answer.decode().strip()))
            writer.write(answer)
            await writer.drain()

    def orders(self, place, since=0):
        """What was said about a server: (when, order)."""
        said = [(at, order.removeprefix(f"set server {place} ")) for at, order, _ in list(self.told) if at >= since
                and order.startswith(f"set server {place} ")]
        return said
