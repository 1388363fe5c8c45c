"""What goes out is numbered without a gap, and can be had again."""

import json
import threading

import pytest
import traitlets

from axon_widget import outbox
from axon_widget.outbox import Outbox
from axon_widget.widget import AxonWidget
from tests.unit.fakes import FakeTracer, settle


@pytest.fixture
def out():
    return Outbox()


def custom(**content):
    return {"method": "custom", "content": content}


def update(**state):
    return {"method": "update", "state": state, "buffer_paths": []}


def numbers(delivered):
    return [m["content"]["sent"] if m["method"] == "custom" else m["state"]["_sent"] for m in delivered]


def test_messages_and_traits_share_one_numbering(out):
    delivered = []
    for message in (custom(kind="a"), update(text="x"), custom(kind="b")):
        out.send(message, lambda got: delivered.append(got))
    assert numbers(delivered) == [1, 2, 3]
    assert delivered[1]["buffer_paths"] == []
    missed = out.since(0)
    assert (missed.messages, missed.traits) == ([(1, {"kind": "a"}), (3, {"kind": "b"})], ["text"])
    assert (missed.last, missed.more) == (3, False)
    missed = out.since(2)
    assert (missed.messages, missed.traits) == ([(3, {"kind": "b"})], [])


def test_every_step_is_kept_and_of_other_traits_the_name(out):
    frames = [{"run": 4, "step": step} for step in range(3)]
    for frame in frames:
        out.send(update(step=frame, status=f"running: {frame['step']}"), lambda *_: None)
    out.send(update(step={}, _esm="…"), lambda *_: None)
    missed = out.since(1)
    assert missed.messages == [(n, {"kind": "steps", "run": 4, "steps": [frames[n - 1]]}) for n in (2, 3)]
    assert missed.traits == ["status"]


def test_an_answer_and_an_echo_are_no_news(out):
    for message in ({"method": "echo_update", "state": {"prompt": "x"}}, custom(kind="missed", last=0)):
        out.send(message, lambda got, sent=message: got is sent or pytest.fail("changed"))
    assert out.count == 0


def test_much_comes_in_parts_and_too_much_not_at_all(out, monkeypatch):
    monkeypatch.setattr(outbox, "KEPT", 250)
    out = Outbox()
    for n in range(400):
        out.send(custom(kind="a", n=n), lambda *_: None)
    assert out.since(149) is None
    seen, got = 150, []
    while True:
        missed = out.since(seen)
        got += [content["n"] for _, content in missed.messages]
        seen = missed.last
        if not missed.more:
            break
        assert len(missed.messages) == 100
    assert got == list(range(150, 400))
    assert seen == 400


def test_threads_cannot_mix_up_the_order(out):
    delivered = []
    threads = [
        threading.Thread(
            target=lambda: [out.send(custom(kind="a"), lambda got: delivered.append(got)) for _ in range(500)]
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers(delivered) == list(range(1, 2001))


def test_what_cannot_be_delivered_leaves_no_trace(out):
    def deliver(message):
        if "bad" in message.get("content", message.get("state")):
            raise ValueError("cannot be sent")
        delivered.append(message)

    delivered = []
    out.send(update(text="x"), deliver)
    for message in (custom(kind="a", bad=1), update(text="y", bad=1, step={"run": 1})):
        with pytest.raises(ValueError, match="cannot be sent"):
            out.send(message, deliver)
    out.send(custom(kind="b"), deliver)
    assert numbers(delivered) == [1, 2]
    missed = out.since(0)
    assert (missed.messages, missed.traits, missed.last) == ([(2, {"kind": "b"})], ["text"], 2)


def test_large_messages_are_kept_for_less_long_but_for_the_newest(out, monkeypatch):
    monkeypatch.setattr(outbox, "BYTES", 1000)
    for n, size in enumerate([270, 270, 270, 270, 5000], 1):
        out.send(custom(kind="a", text="x" * size), lambda *_: None)
        if n == 4:
            assert out.since(0) is None
            assert [number for number, _ in out.since(1).messages] == [2, 3, 4]
    assert out.since(3) is None
    assert [number for number, _ in out.since(4).messages] == [5]
    out.send(custom(kind="a", text="x" * 900), lambda *_: None)
    assert out.since(4) is None
    out.send(custom(kind="a", text="x" * 900), lambda *_: None)
    assert out.since(5) is None
    assert out.since(6).last == 7


class Comm:
    """Holds what a widget sends, which has to be what a kernel can send."""

    comm_id = "test"

    def __init__(self):
        self.sent = []

    def on_msg(self, callback):
        pass

    def send(self, data, buffers):
        json.dumps(data, ensure_ascii=False).encode()
        self.sent.append(data)

    def close(self):
        pass


@pytest.fixture
def widget(monkeypatch):
    monkeypatch.setattr(outbox, "KEPT", 10)
    made = AxonWidget(tracer=FakeTracer())
    made.wait(10)
    made.comm = Comm()
    yield made
    made.close()


def ask(widget, seen):
    """Ask for what was missed; give the answer and the traits that came before it."""
    widget.comm.sent.clear()
    widget._handle_custom_msg({"kind": "poll", "seen": seen}, [])
    *before, answer = widget.comm.sent
    assert answer["content"]["kind"] == "missed"
    return answer["content"], before


def test_a_view_that_asks_gets_what_it_missed(widget):
    start = widget.outbox.count
    assert widget.get_state("_sent") == {"_sent": start}
    widget.generate("a b c", max_tokens=4)
    widget.wait(10)
    answer, before = ask(widget, start)
    assert answer["after"] == start
    *told, end = [content for _, content in answer["messages"]]
    assert [frame["step"] for content in told for frame in content["steps"]] == [*range(7)]
    assert end["kind"] == "end"
    [state] = [message["state"] for message in before]
    assert "step" not in state
    assert state["status"] == "idle"
    assert state["_sent"] == answer["last"] + 1
    answer, before = ask(widget, state["_sent"])
    assert (answer["messages"], before) == ([], [])


def test_a_view_that_missed_too_much_gets_the_whole(widget):
    start = widget.outbox.count
    widget.generate("a b c", max_tokens=9)
    widget.wait(10)
    settle(widget)
    answer, before = ask(widget, start)
    kinds = [message["content"]["kind"] for message in before if message["method"] == "custom"]
    assert kinds == ["snapshot", "steps"]
    [state] = [message["state"] for message in before if message["method"] == "update"]
    assert {"status", "info", "prompt", "device"} <= set(state)
    assert not {"_esm", "_css"} & set(state)
    assert answer["messages"] == []


def test_a_question_that_makes_no_sense_is_an_error(widget):
    widget._handle_custom_msg({"kind": "poll", "seen": None}, [])
    assert "seen=None" in widget.error


def test_halves_of_characters_and_what_is_no_message_jam_nothing(widget):
    start = widget.outbox.count
    for kind in ("search", "token"):
        widget._handle_custom_msg({"kind": kind, "text": "a\ud800"}, [])
    settle(widget)
    with pytest.raises(traitlets.TraitError, match="half of a character"):
        widget.prompt = "a\ud800"
    with pytest.raises(traitlets.TraitError, match="half of a character"):
        widget.generate("a\ud800")
    with pytest.raises(TypeError):
        widget.send({"x": object()})
    widget.on_error("no \ud800")
    answer, _ = ask(widget, start)
    told = [content for _, content in answer["messages"]]
    assert [(content["kind"], content["text"]) for content in told] == [("found", "a?"), ("token", "a?")]
    assert widget.error == "no ?"


def test_a_closed_widget_holds_no_messages(widget):
    widget.send({"kind": "export", "content": "x" * 1000})
    widget._session.close(timeout=10)  # as where the cell that made it runs again
    assert widget.status == "closed"
    assert widget.outbox.since(0) is None
    assert widget.outbox.since(widget.outbox.count - 1).messages == []
