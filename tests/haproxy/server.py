#!/usr/bin/env python3
"""A web server for closed.py, one process that listens on some ports and can be told to fail on each: server.py NAME PORT…

/_ctl/MODE on a port: ok, 500 (every new request) or garbage (what is no HTTP). /health stays 200. /sleep/MS
answers that late, and 200, for it began before. Every answer says who gave it: `x-server: NAME`.
"""
import asyncio
import sys


async def serve(name, port):
    mode = "ok"

    async def talk(reader, writer):
        nonlocal mode
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ", 2)[1].decode()
                if path.startswith("/_ctl/"):
                    mode = path.removeprefix("/_ctl/")
                elif path.startswith("/sleep/"):
                    await asyncio.sleep(int(path.removeprefix("/sleep/")) / 1000)
                elif mode == "garbage" and path == "/":
                    return writer.write(b"garbage\r\n\r\n")
                failed = mode == "500" and path == "/"
                status = "500 Internal Server Error" if failed else "200 OK"
                writer.write(f"HTTP/1.1 {status}\r\nx-server: {name}\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    await (await asyncio.start_server(talk, "127.0.0.1", port, backlog=1024)).serve_forever()


async def main():
    await asyncio.gather(*[serve(sys.argv[1], int(port)) for port in sys.argv[2:]])


asyncio.run(main())
