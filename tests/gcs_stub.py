"""A stand-in for Google Cloud Storage on loopback: the JSON API as gcsfs and TensorStore use it, in memory.

Unlike the emulators of the registries it honours conditions on generations, on which claims are built, and it can be
told to be busy (429, 503), to be away, to answer nothing after it has written, and to be slow.
"""

import base64
import contextlib
import datetime
import hashlib
import itertools
import json
import re
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PAGE = 1000  # names of a listing at most


class Stub(ThreadingHTTPServer):
    """The server and its objects; `with Stub() as stub:` serves until the end."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int = 0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}  # bucket, name -> content and the like
        self.uploads: dict[str, tuple[str, str, dict[str, str], bytearray]] = {}
        self.lock, self.numbers = threading.RLock(), itertools.count(1_700_000_000_000_000)
        self.counts: Counter[str] = Counter()  # requests of each kind
        self.busy = 0  # every so many requests one is answered 503 or 429; 0: none
        self.mute = 0  # so many of the next writes are done, and their answer is lost
        self.careless = False  # conditions on generations are passed over
        self.away = False  # nothing is answered but 503
        self.asked = itertools.count(1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find it instead of Google's."""
        return {"STORAGE_EMULATOR_HOST": self.url, "TENSORSTORE_GCS_HTTP_URL": self.url}

    def names(self, bucket: str, prefix: str = "") -> list[str]:
        with self.lock:
            return sorted(name for there, name in self.objects if there == bucket and name.startswith(prefix))

    def content(self, bucket: str, name: str) -> bytes:
        return self.objects[bucket, name]["content"]

    def __enter__(self) -> "Stub":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed has nothing to hear."""

    def put(self, bucket: str, name: str, content: bytes) -> dict[str, Any]:
        now = datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
        found = {
            "content": content,
            "meta": {
                "kind": "storage#object",
                "name": name,
                "bucket": bucket,
                "generation": str(next(self.numbers)),
                "metageneration": "1",
                "contentType": "application/octet-stream",
                "size": str(len(content)),
                "timeCreated": now,
                "updated": now,
                "storageClass": "STANDARD",
                "md5Hash": base64.b64encode(hashlib.md5(content).digest()).decode(),
                "etag": "x",
            },
        }
        self.objects[bucket, name] = found
        return found["meta"]


class _Refused(Exception):
    def __init__(self, code: int, message: str = ""):
        super().__init__(message)
        self.code = code


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Stub  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None: ...

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_DELETE = do_GET

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(self._chunks())
        with self.server.lock:
            n = next(self.server.asked)
        if self.server.away or (self.server.busy and n % self.server.busy == 0):
            self.server.counts["busy"] += 1
            self._answer(429 if n % 2 else 503, b'{"error": {"message": "slow down"}}')
            return
        try:
            code, answer, headers = self._do(self.command, self.path, body, dict(self.headers))
        except _Refused as refused:
            said = json.dumps({"error": {"code": refused.code, "message": str(refused)}}).encode()
            self._answer(refused.code, said if refused.code != 304 else b"")
            return
        if self.command in ("POST", "PUT") and self.server.mute:
            self.server.mute -= 1
            self.close_connection = True
            self.connection.close()
            return
        self._answer(code, answer, headers)

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _answer(self, code: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        with contextlib.suppress(OSError):
            self.send_response(code)
            for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def _do(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        at, _, query = path.partition("?")
        asked = {key: values[-1] for key, values in urllib.parse.parse_qs(query, keep_blank_values=True).items()}
        stub = self.server
        if at == "/batch/storage/v1":
            return self._batch(body, headers)
        if found := re.fullmatch(r"/upload/storage/v1/b/([^/]+)/o", at):
            stub.counts["write"] += 1
            return self._upload(found[1], asked, body, headers)
        if found := re.fullmatch(r"/storage/v1/b/([^/]+)", at):
            stub.counts["bucket"] += 1
            return 200, json.dumps({"name": found[1], "kind": "storage#bucket", "location": "HERE"}).encode(), {}
        if found := re.fullmatch(r"/storage/v1/b/([^/]+)/o", at):
            stub.counts["list"] += 1
            return 200, json.dumps(self._list(found[1], asked)).encode(), {}
        if found := re.fullmatch(r"/storage/v1/b/([^/]+)/o/([^/]+)/rewriteTo/b/([^/]+)/o/([^/]+)", at):
            stub.counts["copy"] += 1
            bucket, name, to, new = map(urllib.parse.unquote, found.groups())
            with stub.lock:
                meta = stub.put(to, new, self._there(bucket, name)["content"])
            return 200, json.dumps({"done": True, "resource": meta}).encode(), {}
        if found := re.fullmatch(r"(?:/download)?/storage/v1/b/([^/]+)/o/([^/]+)", at):
            bucket, name = map(urllib.parse.unquote, found.groups())
            return self._object(method, bucket, name, asked, headers)
        raise _Refused(400, f"the stub does not know {method} {path}")

    def _there(self, bucket: str, name: str) -> dict[str, Any]:
        try:
            return self.server.objects[bucket, name]
        except KeyError:
            raise _Refused(404, f"no such object: {bucket}/{name}") from None

    def _check(self, bucket: str, name: str, asked: dict[str, str]) -> None:
        if self.server.careless:
            return
        found = self.server.objects.get((bucket, name))
        generation = found["meta"]["generation"] if found else "0"
        if "ifGenerationMatch" in asked and asked["ifGenerationMatch"] != generation:
            raise _Refused(412, "conditionNotMet")
        if "ifGenerationNotMatch" in asked and asked["ifGenerationNotMatch"] == generation:
            raise _Refused(304)

    def _object(
        self, method: str, bucket: str, name: str, asked: dict[str, str], headers: dict[str, str]
    ) -> tuple[int, bytes, dict[str, str]]:
        stub = self.server
        with stub.lock:
            found = self._there(bucket, name)
            self._check(bucket, name, asked)
            if method == "DELETE":
                stub.counts["delete"] += 1
                del stub.objects[bucket, name]
                return 204, b"", {}
        if asked.get("alt") != "media":
            stub.counts["stat"] += 1
            return 200, json.dumps(found["meta"]).encode(), {}
        stub.counts["read"] += 1
        content, more = found["content"], {"x-goog-generation": found["meta"]["generation"]}
        more["Content-Type"] = "application/octet-stream"
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("Range") or headers.get("range") or "")
        if not wanted:
            return 200, content, more
        first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        if first >= len(content):
            raise _Refused(416)
        more["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return 206, content[first : last + 1], more

    def _upload(
        self, bucket: str, asked: dict[str, str], body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes, dict[str, str]]:
        stub = self.server
        if "upload_id" in asked:
            _, name, conditions, so_far = stub.uploads[asked["upload_id"]]
            so_far += body
            span = re.fullmatch(r"bytes .*/(\d+|\*)", headers["Content-Range"])
            assert span
            if span[1] == "*" or len(so_far) < int(span[1]):
                return 308, b"", {"Range": f"bytes=0-{len(so_far) - 1}"}
            asked, content = conditions, bytes(so_far)
        elif asked["uploadType"] == "resumable":
            name = asked.get("name") or json.loads(body)["name"]
            id = f"upload-{next(stub.numbers)}"
            stub.uploads[id] = bucket, name, asked, bytearray()
            place = f"{stub.url}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={id}"
            return 200, b"{}", {"Location": place}
        elif asked["uploadType"] == "media":
            name, content = asked["name"], body
        else:
            kind = headers.get("Content-Type") or headers["content-type"]
            boundary = kind.partition("boundary=")[2].strip('"').encode()
            line = b"\r\n" if body.startswith(b"--" + boundary + b"\r\n") else b"\n"  # as its sender has them
            _, first, second, _ = (line + body).split(line + b"--" + boundary)
            name = json.loads(first.split(2 * line, maxsplit=1)[1])["name"]
            content = second.split(2 * line, maxsplit=1)[1]
        with stub.lock:
            self._check(bucket, name, asked)
            return 200, json.dumps(stub.put(bucket, name, content)).encode(), {}

    def _list(self, bucket: str, asked: dict[str, str]) -> dict[str, Any]:
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        most = min(PAGE, int(asked.get("maxResults") or PAGE))
        after, first, end = asked.get("pageToken", ""), asked.get("startOffset", ""), asked.get("endOffset")
        items: list[Any] = []
        prefixes: dict[str, None] = {}
        for name in self.server.names(bucket, prefix):
            below = name[len(prefix) :]
            folder = prefix + below.split(delimiter)[0] + delimiter if delimiter and delimiter in below else ""
            if (folder or name) <= after or name < first or (end and name >= end) or folder in prefixes:
                continue
            if len(items) + len(prefixes) == most:
                last = max([*(item["name"] for item in items), *prefixes])
                return {"items": items, "prefixes": [*prefixes], "nextPageToken": last}
            if folder:
                prefixes[folder] = None
            elif found := self.server.objects.get((bucket, name)):
                items.append(found["meta"])
        return {"kind": "storage#objects", "items": items, "prefixes": [*prefixes]}

    def _batch(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        found = re.findall(rb"(DELETE) (\S+) HTTP/1.1", body)
        parts = []
        for method, path in found:
            try:
                code, *_ = self._do(method.decode(), path.decode(), b"", {})
            except _Refused as refused:
                code = refused.code
            parts.append(f"--x\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 {code} OK\r\n\r\n\r\n")
        return 200, ("".join(parts) + "--x--").encode(), {"Content-Type": "multipart/mixed; boundary=x"}


def main() -> None:
    """python -m tests.gcs_stub PORT: serves until it is ended."""
    import sys

    with Stub(int(sys.argv[1])) as stub:
        print(stub.url, flush=True)
        while True:
            time.sleep(1)


if __name__ == "__main__":
    main()
