"""A stand-in for the Hugging Face Hub: the endpoints that huggingface_hub uses to make, fill and read a repository.

Small files travel inside the commit, weights by Git LFS, as the real one asks for. Everything is kept in memory.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

TOKEN = "hf_stand_in"
LARGE = (".safetensors", ".pt")


class Hub:
    """Repositories by name, each a dict of path -> content."""

    def __init__(self) -> None:
        self.address = ""
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.objects: dict[str, bytes] = {}
        self.commits: list[str] = []

    @property
    def head(self) -> str:
        return hashlib.sha1(json.dumps(self.commits).encode()).hexdigest()

    def commit(self, repository: str, lines: list[dict[str, Any]]) -> None:
        files = self.repositories[repository]
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "header":
                    self.commits.append(value["summary"])
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.objects[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]


@contextmanager
def stand_in_hub() -> Iterator[Hub]:
    """A running hub; its address is what HF_ENDPOINT should be."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, content: bytes = b"", status: int = 200, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def answer_json(self, value: Any, status: int = 200, **headers: str) -> None:
            self.answer(json.dumps(value).encode(), status, Content_Type="application/json", **headers)

        def refuse(self, status: int, code: str) -> None:
            self.answer_json({"error": code}, status, X_Error_Code=code, X_Error_Message=code)

        def body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def do_POST(self) -> None:
            body = self.body()
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.refuse(401, "Unauthorized")
            if self.path == "/api/repos/create":
                request = json.loads(body)
                name = "/".join(filter(None, (request.get("organization"), request["name"])))
                if name in hub.repositories:
                    return self.answer_json({"error": "exists", "url": f"{hub.address}/{name}"}, 409)
                hub.repositories[name] = {}
                return self.answer_json({"url": f"{hub.address}/{name}"})
            if self.path == "/api/validate-yaml":
                return self.answer_json({"warnings": [], "errors": []})
            if match := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
                modes = [
                    {"path": file["path"], "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                     "shouldIgnore": False, "oid": None}
                    for file in json.loads(body)["files"]
                ]  # fmt: skip
                return self.answer_json({"files": modes})
            if re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", self.path):
                objects = [
                    {"oid": item["oid"], "size": item["size"],
                     "actions": {"upload": {"href": f"{hub.address}/lfs/{item['oid']}", "header": {}}}}
                    for item in json.loads(body)["objects"]
                ]  # fmt: skip
                return self.answer_json({"transfer": "basic", "objects": objects})
            if match := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
                hub.commit(match[1], [json.loads(line) for line in body.splitlines()])
                url = f"{hub.address}/{match[1]}/commit/{hub.head}"
                return self.answer_json({"success": True, "commitOid": hub.head, "commitUrl": url, "hookOutput": ""})
            return self.refuse(404, "RepoNotFound")

        def do_PUT(self) -> None:
            content = self.body()
            hub.objects[hashlib.sha256(content).hexdigest()] = content
            self.answer()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if match := re.fullmatch(r"/api/models/(.+?)(?:/(revision|tree)/([^/]+))?", path):
                name, what, revision = match.groups()
                if name not in hub.repositories:
                    return self.refuse(404, "RepoNotFound")
                if revision not in (None, "main", hub.head):
                    return self.refuse(404, "RevisionNotFound")
                files = hub.repositories[name]
                if what == "tree":
                    return self.answer_json([
                        {"type": "file", "path": file, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                        for file, content in files.items()
                    ])  # fmt: skip
                siblings = [{"rfilename": file} for file in files]
                return self.answer_json({"id": name, "modelId": name, "sha": hub.head, "siblings": siblings})
            if match := re.fullmatch(r"/(.+)/resolve/([^/]+)/(.+)", path):
                content = hub.repositories.get(match[1], {}).get(match[3])
                if content is None:
                    return self.refuse(404, "EntryNotFound")
                digest = hashlib.sha256(content).hexdigest()
                return self.answer(content, ETag=f'"{digest}"', X_Repo_Commit=hub.head, Accept_Ranges="bytes")
            return self.refuse(404, "RepoNotFound")

        do_HEAD = do_GET  # noqa: N815  # http.server asks for the name

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
