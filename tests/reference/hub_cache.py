"""Whether Python's huggingface_hub and `mr2 weights` see one and the same cache.

    cargo build && python tests/reference/hub_cache.py target/debug/mr2

Needs huggingface_hub; no network, as both speak to a server of this script. Each fetches two files, a
large one by a redirect and a small one in a folder, into a cache of its own; then the other must find
them at the same paths, without a byte sent again. Passed with huggingface_hub 2.4.0.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "1" * 40
MODEL = bytes(range(256)) * 3000
SMALL = b'{"x":1}'
MODEL_SHA256 = hashlib.sha256(MODEL).hexdigest()
SMALL_SHA1 = hashlib.sha1(b"blob %d\0" % len(SMALL) + SMALL).hexdigest()
FILES = ["model.safetensors", "sub/config.json"]

bodies_sent = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, headers, body=b""):
        global bodies_sent
        self.send_response(status)
        for name, value in {**headers, "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET" and status == 200:
            self.wfile.write(body)
            bodies_sent += 1

    def do_HEAD(self):
        if self.path == "/" + MODEL_SHA256:
            self.answer(200, {}, MODEL)
        elif self.path.startswith("/a/b/resolve/") and self.path.endswith(FILES[0]):
            self.answer(302, {
                "X-Repo-Commit": COMMIT,
                "X-Linked-ETag": f'"{MODEL_SHA256}"',
                "X-Linked-Size": len(MODEL),
                "ETag": '"of-the-pointer"',
                # The same server under another name: another host.
                "Location": f"http://localhost:{self.server.server_port}/{MODEL_SHA256}",
            })
        elif self.path.startswith("/a/b/resolve/") and self.path.endswith(FILES[1]):
            self.answer(200, {"X-Repo-Commit": COMMIT, "ETag": f'"{SMALL_SHA1}"'}, SMALL)
        else:
            self.answer(404, {"X-Error-Code": "EntryNotFound"})

    do_GET = do_HEAD


def run(command, home, endpoint):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": home, "NO_PROXY": "127.0.0.1,localhost"}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def by_mr2(file, home, endpoint):
    return run([sys.argv[1], "weights", "path", f"hf:a/b:{file}"], home, endpoint)


def by_python(file, home, endpoint, **arguments):
    code = f"import huggingface_hub as h; print(h.hf_hub_download('a/b', {file!r}, **{arguments!r}))"
    return run([sys.executable, "-c", code], home, endpoint)


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    for first, second in [(by_mr2, by_python), (by_python, by_mr2)]:
        with tempfile.TemporaryDirectory() as home:
            for file in FILES:
                path = first(file, home, endpoint)
                sent = bodies_sent
                assert second(file, home, endpoint) == path, file
                assert by_python(file, home, endpoint, local_files_only=True) == path, file
                assert bodies_sent == sent, f"{file} was sent again"
            code = "import huggingface_hub as h; s = h.scan_cache_dir(); print(len(s.warnings), s.size_on_disk)"
            assert run([sys.executable, "-c", code], home, endpoint) == f"0 {len(MODEL) + len(SMALL)}"
    print("one cache")


main()
