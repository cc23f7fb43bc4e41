"""A register that changes while it is served."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_retrieval.errors import RegisterError
from edge_retrieval.register import Register
from edge_retrieval.server import held as held_module
from edge_retrieval.server.held import EVERY, HeldRegister
from edge_retrieval.server.remembering import Memory, RememberingEncoder
from tests.fakes import FakeEncoder, designs, drawing, tiny_bundle

if TYPE_CHECKING:
    from tests.server.conftest import Serve


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A register of six designs that a test may change."""
    bundle = tiny_bundle(tmp_path / "bundle")
    with Register.create(tmp_path / "own", bundle) as register:
        register.add(designs(6, views=1), FakeEncoder(bundle.fingerprint))
    return tmp_path / "own"


def grow(folder: Path, count: int) -> None:
    with Register.open(folder) as register:
        register.add(designs(count, views=1), FakeEncoder(register.bundle.fingerprint))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_was_added_is_seen_after_a_while_and_the_folder_is_not_asked_before(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Path] = []
    look = held_module._look
    monkeypatch.setattr(held_module, "_look", lambda at: (looks.append(at), look(at))[1])
    clock = Clock()
    held = HeldRegister(own, clock=clock)
    grow(own, 8)
    for _ in range(5):
        held.renew()
    assert (held.register.designs_count, len(looks)) == (6, 1)
    clock.now += EVERY
    held.renew()
    assert (held.register.designs_count, len(looks)) == (8, 2)
    held.close()


def test_a_register_that_did_not_change_is_not_read_again(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    held = HeldRegister(own, clock=clock)
    refreshed: list[bool] = []
    monkeypatch.setattr(Register, "refresh", lambda _: refreshed.append(True))
    for _ in range(3):
        clock.now += EVERY
        held.renew()
    assert refreshed == []
    grow(own, 7)
    refreshed.clear()  # the writer's own
    clock.now += EVERY
    held.renew()
    assert refreshed == [True]
    held.close()


def test_a_folder_that_became_another_register_is_opened_anew(own: Path, tmp_path: Path) -> None:
    clock = Clock()
    held = HeldRegister(own, Memory(), clock=clock)
    before, fingerprint = held.epoch, held.encoder.fingerprint
    shutil.rmtree(own)
    bundle = tiny_bundle(tmp_path / "other", golden=3)
    with Register.create(own, bundle) as register:
        register.add(designs(2, views=1), FakeEncoder(bundle.fingerprint))
    clock.now += EVERY
    held.renew()
    assert held.register.designs_count == 2
    assert held.epoch != before
    assert held.encoder.fingerprint == bundle.fingerprint != fingerprint
    held.close()


def test_a_register_that_is_gone_is_told_and_found_again(own: Path) -> None:
    held = HeldRegister(own)
    own.rename(own.with_name("away"))
    with pytest.raises(RegisterError, match="no register any more"):
        held.renew(at_once=True)
    own.with_name("away").rename(own)
    held.renew(at_once=True)
    assert held.register.designs_count == 6
    held.close()


def test_what_was_made_is_made_again_only_after_a_change(own: Path) -> None:
    held = HeldRegister(own)
    made: list[int] = []

    def make() -> int:
        made.append(held.register.designs_count)
        return made[-1]

    assert [held.once("a", make), held.once("a", make), held.once("b", make)] == [6, 6, 6]
    assert len(made) == 2
    grow(own, 7)
    held.renew(at_once=True)
    assert held.once("a", make) == 7
    held.close()


def test_two_registers_never_share_the_address_of_a_picture(own: Path, tmp_path: Path) -> None:
    shutil.copytree(own, tmp_path / "copy")
    marks = {held_module.mark_of(own), held_module.mark_of(tmp_path / "copy")}
    assert len(marks) == 2
    assert held_module.mark_of(own) in marks


def test_a_register_that_is_damaged_or_gone_is_an_error_with_a_hint_and_no_path(
    own: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_module, "EVERY", 0.0)
    client = serve(own)
    own.rename(own.with_name("away"))
    for answer in (
        client.get("/api/status"),
        client.post("/api/search", json={"design": "D0001"}),
    ):
        assert answer.status_code == 500
        assert answer.json()["error"].startswith("own: no register any more")
        assert answer.json()["hint"]
        assert str(own.parent) not in answer.text
    own.with_name("away").rename(own)
    assert client.get("/api/status").status_code == 200


def test_pictures_of_rows_that_have_other_numbers_by_now_are_gone(
    own: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_module, "EVERY", 0.0)
    client = serve(own)
    old = client.get("/api/designs").json()["designs"]
    with Register.open(own) as register:
        register.remove(["D0000"])
        register.compact()
    gone = client.get(old[3]["picture"])
    assert gone.status_code == 410
    assert "search again" in gone.json()["hint"]
    new = client.get("/api/designs").json()["designs"]
    assert [one["number"] for one in new] == [one["number"] for one in old[1:]]
    assert client.get(new[2]["picture"]).status_code == 200


def test_a_picture_that_came_after_the_last_look_is_found(own: Path, serve: Serve) -> None:
    client = serve(own)
    before, _, _ = client.get("/api/designs").json()["designs"][0]["picture"].rpartition("/")
    grow(own, 7)
    assert client.get(f"{before}/6.png").status_code == 200


def test_a_drawing_goes_on_to_be_good_when_the_encoder_is_another(
    own: Path, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_module, "EVERY", 0.0)
    client = serve(own)
    sent = client.post("/api/drawings", content=drawing(1, 4)).json()
    body = {"views": [{"drawing": sent["id"], "figure": 1}], "k": 2}
    first = client.post("/api/search", json=body).json()["hits"]
    shutil.rmtree(own)
    bundle = tiny_bundle(tmp_path / "other", golden=3)
    with Register.create(own, bundle) as register:
        register.add(designs(2, views=1), FakeEncoder(bundle.fingerprint))
    answer = client.post("/api/search", json=body)
    assert answer.status_code == 200, answer.text
    assert first[0]["design"] == answer.json()["hits"][0]["design"] == "D0001"


# ------------------------------------------------------------------ the encoder's memory


def test_a_figure_is_embedded_once_and_its_row_is_the_same() -> None:
    encoder = FakeEncoder("one")
    remembering = RememberingEncoder(encoder, Memory())
    images = np.random.default_rng(1).random((5, 1, 32, 32)).astype(np.float32)
    expected = encoder.embed(images)
    encoder.embedded = 0
    assert np.array_equal(remembering.embed(images[:2]), expected[:2])
    assert np.array_equal(remembering.embed(images[[4, 1, 0, 4]]), expected[[4, 1, 0, 4]])
    assert np.array_equal(remembering.embed(images), expected)
    assert encoder.embedded <= 6
    assert remembering.embed(images[:0]).shape == (0, encoder.dim)


def test_rows_of_two_encoders_do_not_meet_in_one_memory() -> None:
    memory = Memory()
    images = np.ones((1, 1, 32, 32), np.float32)
    encoders = [FakeEncoder("one"), FakeEncoder("two")]
    for encoder in encoders:
        RememberingEncoder(encoder, memory).embed(images)
    assert [encoder.embedded for encoder in encoders] == [1, 1]


def test_a_memory_is_bounded_and_what_was_not_used_longest_goes() -> None:
    memory = Memory(room=2)
    row = np.zeros(3, np.float32)
    for key in (b"a", b"b"):
        memory.put(key, row)
    assert memory.get(b"a") is not None
    memory.put(b"c", row)
    assert [memory.get(key) is not None for key in (b"a", b"b", b"c")] == [True, False, True]
