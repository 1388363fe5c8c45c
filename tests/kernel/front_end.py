"""Plays the front end of a real kernel: runs cells, and holds each widget's state and messages as a browser would."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any, TypeVar

import nbformat
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).parents[2]
PATIENCE = 90.0

Content = dict[str, Any]
T = TypeVar("T")


@dataclass
class Cell:
    """A cell that has run."""

    started: float
    ended: float
    reply: Content
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        return f"{self.reply.get('ename', '')}: {self.reply.get('evalue', '')}" if self.failed else ""

    @property
    def failed(self) -> bool:
        return self.reply["status"] != "ok"


@dataclass
class Model:
    """A widget as the front end knows it."""

    id: str
    state: Content
    updates: list[tuple[float, Content, int]] = field(default_factory=list)
    """Every update of traits: when it came, what it held, and the bytes of the message's content."""
    messages: list[tuple[float, Content]] = field(default_factory=list)
    """Every custom message."""
    closed: bool = False
    arrived: set[int] = field(default_factory=set)
    """The numbers of the messages that came."""

    @property
    def seen(self) -> int:
        """The number up to which all messages came."""
        return next(n for n in itertools.count() if n + 1 not in self.arrived)

    def steps(self, run: int | None = None) -> list[Content]:
        """The frames that came as updates of the step trait, in the order they came in."""
        came = [state["step"] for _, state, _ in self.updates if state.get("step")]
        return [frame for frame in came if run is None or frame["run"] == run]

    def step_times(self) -> list[float]:
        return [at for at, state, _ in self.updates if state.get("step")]

    def of_kind(self, kind: str) -> list[Content]:
        return [content for _, content in self.messages if content["kind"] == kind]

    @property
    def word(self) -> str:
        return str(self.state["status"]).partition(":")[0]


class FrontEnd:
    """A kernel with a front end.

    Attributes
    ----------
    drops
        Whether it drops what the kernel sends for a request that it has handled, as Colab does.
    dropped
        How many messages it has dropped.
    """

    def __init__(self, manager: KernelManager, log: Path) -> None:
        self.drops, self.dropped = False, 0
        self.manager, self.log = manager, log
        self.client = manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)
        self.models: dict[str, Model] = {}
        self.streams: list[tuple[str, str, str]] = []
        self.displays: list[Content] = []
        self._changed = threading.Condition()
        self._idle: set[str] = set()
        self._handled: set[str] = set()  # now
        self._going = True
        # Read all the time, as a browser does: a full queue on the kernel's side would drop messages.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def run(self, code: str, cell: str | None = None, patience: float = PATIENCE) -> Cell:
        """Run a cell to its end; `cell` is its id, as JupyterLab tells it."""
        request = self.begin(code, cell)
        return self.finish(request, patience)

    def begin(self, code: str, cell: str | None = None) -> tuple[str, float]:
        """Send a cell to the kernel and go on."""
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        metadata = {"cellId": cell} if cell else None
        message = self.client.session.msg("execute_request", content, metadata=metadata)
        started = time.monotonic()
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"], started

    def finish(self, request: tuple[str, float], patience: float = PATIENCE) -> Cell:
        """Wait for a cell's end."""
        id, started = request
        deadline = time.monotonic() + patience
        while True:
            try:
                reply = self.client.get_shell_msg(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                raise TimeoutError("The kernel did not answer.") from None
            if reply["parent_header"].get("msg_id") == id:
                break
        ended = time.monotonic()
        self.until(lambda: id in self._idle)
        out = {
            name: "".join(text for parent, of, text in self.streams if parent == id and of == name)
            for name in ("stdout", "stderr")
        }
        return Cell(started, ended, reply["content"], out["stdout"], out["stderr"])

    def ask(self, expression: str) -> Any:
        """Give the value of an expression in the kernel, which must have a JSON form."""
        cell = self.run(f"import json as _json\nprint(_json.dumps({expression}))")
        assert not cell.failed, cell.error
        return json.loads(cell.stdout.strip().splitlines()[-1])

    def widget(self, code: str, cell: str | None = None) -> Model:
        """Run a cell that makes a widget `w`."""
        made = self.run(code, cell)
        assert not made.failed, made.error
        id = self.ask("w.model_id")
        return self.until(lambda: self.models.get(id))

    def loaded(self, code: str) -> Model:
        """Run a cell that makes a widget `w`, and wait until its model is loaded."""
        model = self.widget(code)
        self.until(lambda: model.word == "idle")
        return model

    def send(self, model: Model, **content: Any) -> None:
        """Send a widget a message, as the view does."""
        data = {"method": "custom", "content": content}
        message = self.client.session.msg("comm_msg", {"comm_id": model.id, "data": data})
        self.client.shell_channel.send(message)

    def until(self, condition: Callable[[], T], patience: float = PATIENCE) -> T:
        """Wait until a condition on what came in holds."""
        with self._changed:
            assert self._changed.wait_for(condition, patience), "what was waited for did not come"
            return condition()

    def close(self) -> None:
        self._going = False
        self._reader.join()
        self.client.stop_channels()
        with suppress(Exception):
            self.manager.shutdown_kernel(now=True)

    def _read(self) -> None:
        while self._going:
            try:
                message = self.client.get_iopub_msg(timeout=0.2)
            except Empty:
                continue
            with self._changed:
                self._take(message, time.monotonic())
                self._changed.notify_all()

    def _take(self, message: Content, at: float) -> None:
        content, parent = message["content"], message["parent_header"].get("msg_id", "")
        if self.drops and message["msg_type"] == "comm_msg" and parent not in self._handled:
            self.dropped += 1
            return
        match message["msg_type"]:
            case "status" if content["execution_state"] == "busy":
                self._handled.add(parent)
            case "status" if content["execution_state"] == "idle":
                self._handled.discard(parent)
                self._idle.add(parent)
            case "stream":
                self.streams.append((parent, content["name"], content["text"]))
            case "display_data":
                self.displays.append(content["data"])
            case "comm_open" if content["target_name"] == "jupyter.widget":
                self.models[content["comm_id"]] = Model(content["comm_id"], content["data"]["state"])
            case "comm_close" if content["comm_id"] in self.models:
                self.models[content["comm_id"]].closed = True
            case "comm_msg" if content["comm_id"] in self.models:
                model, data = self.models[content["comm_id"]], content["data"]
                if data["method"] == "update":
                    if "_sent" in data["state"]:  # a slider numbers nothing
                        model.arrived.add(data["state"].pop("_sent"))
                    model.state.update(data["state"])
                    size = len(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())
                    model.updates.append((at, data["state"], size))
                elif data["method"] == "custom" and data["content"]["kind"] == "missed":
                    self._catch_up(model, data["content"], at)
                elif data["method"] == "custom":
                    model.arrived.add(data["content"].pop("sent"))
                    model.messages.append((at, data["content"]))

    def _catch_up(self, model: Model, answer: Content, at: float) -> None:
        for number, content in answer["messages"]:
            if number not in model.arrived:
                model.messages.append((at, content))
        model.arrived.update(range(answer["after"] + 1, answer["last"] + 1))


@contextmanager
def start(folder: Path, *instead: Path) -> Iterator[FrontEnd]:
    """Start a kernel in a folder; what is in `instead` takes the place of what is installed."""
    manager = KernelManager(kernel_name="python3")
    # Only what is installed and this repository: not the user's own notebook start-up files.
    path = os.pathsep.join(map(str, (*instead, ROOT)))
    environment = {**os.environ, "PYTHONPATH": path, "IPYTHONDIR": str(folder / "ipython"), "HF_HUB_OFFLINE": "1"}
    with (folder / "kernel.log").open("w") as log:
        manager.start_kernel(cwd=str(folder), env=environment, stdout=log, stderr=log)
        front_end = FrontEnd(manager, folder / "kernel.log")
        try:
            yield front_end
        finally:
            front_end.close()


def run_notebook(name: str, folder: Path) -> tuple[str, list[Any]]:
    """Run a notebook of this repository as a reader without a browser does, into a folder. Give what that prints, and
    the code cells, of which none may have failed or warned.
    """
    command = [sys.executable, "-m", "notebooks.run", str(ROOT / "notebooks" / name), str(folder)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stderr
    cells = [cell for cell in nbformat.read(folder / name, as_version=4).cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    return run.stdout, cells
