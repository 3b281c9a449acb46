"""A small web server that can be told to fail: what HAProxy balances over in loop.py."""
import http.server
import threading


class Backend:
    """Answers 200 on every path, or 500 while `failing`; /health stays 200. Listens on loopback until `stop`."""

    def __init__(self, port):
        self.failing = False
        backend = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                failed = backend.failing and self.path != "/health"
                self.send_response(500 if failed else 200)
                self.send_header("Content-Length", "0")  # no body: the answer goes out in one write
                self.end_headers()

            do_POST = do_GET

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                pass  # a health check hangs up as soon as it has its answer

        self.server = Server(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
