"""What is sent stays in memory: while requests are answered no file is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

SCRIPT = """
import json, os, sys
from pathlib import Path
from starlette.testclient import TestClient
from edge_retrieval.server import ServeSettings, create_app
from tests.fakes import drawing

touched = []
watching = False
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink",
           "os.truncate", "shutil.move", "tempfile.mkstemp", "tempfile.mkdtemp"}

def hook(event, args):
    if not watching:
        return
    if event == "open":
        path, mode, flags = args
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and path != os.devnull:
            touched.append(f"{event} {path}")
    elif event in CHANGES:
        touched.append(f"{event} {args}")

sys.addaudithook(hook)
def files():
    return sorted(str(p) for root in sys.argv[1:] for p in Path(root).rglob("*"))

settings = ServeSettings(workers=1)
with TestClient(create_app(sys.argv[1], settings=settings), base_url="http://127.0.0.1") as client:
    client.post("/api/search", json={"design": "D0001"})  # what is loaded late is loaded
    before, watching = files(), True
    big = drawing(1, figures=3) + bytes(3_000_000)
    sent = client.post("/api/drawings", content=big, params={"name": "../../x.png"}).json()
    views = [{"drawing": sent["id"], "figure": 1}]
    status = [client.post("/api/search", json={"views": views, "k": k}).status_code for k in (1, 9)]
    for kind in ("record", "html", "csv"):
        body = {"search": {"views": views}, "format": kind, "notes": "n" * 9000}
        status.append(client.post("/api/export", json=body).status_code)
    for path in ("/", "/api", "/api/openapi.json", "/api/designs", "/api/designs/D0001"):
        client.get(path)
    status.append(client.post("/api/drawings", content=b"no drawing").status_code)
    watching = False
    after = files()
print(json.dumps({"touched": touched, "status": status, "new": sorted(set(after) - set(before))}))
"""


def test_nothing_is_written_while_requests_are_answered(folder: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(temporary)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
        timeout=120,
    )
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["status"] == [200, 200, 200, 200, 200, 415]
    assert found["touched"] == []
    assert found["new"] == []
