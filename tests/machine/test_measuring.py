"""What is measured, and what is kept of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bicross import BiEncoder, CrossEncoder, Document, LocalIndex
from bicross.errors import BicrossError
from bicross.index.disk import bytes_taken
from bicross.machine import machine_profile
from bicross.machine.cache import cache_folder, read_profiles, write_profiles
from bicross.planning import Curve, MachineProfile


def test_the_machine_is_described(measured: MachineProfile, bi_encoder: BiEncoder, cross_encoder: CrossEncoder) -> None:
    assert measured.machine
    assert measured.cores >= 1
    assert list(measured.speeds) == [measured.precision] == [bi_encoder.precision]
    assert measured.chunk_tokens + measured.text_special == bi_encoder.max_tokens
    assert (measured.pair_tokens, measured.pair_special) == (cross_encoder.max_tokens, 3)
    assert measured.dimension == bi_encoder.dimension
    assert measured.memory > 50_000_000
    assert min(measured.start, measured.dot) > 0


def test_longer_texts_cost_more(measured: MachineProfile) -> None:
    speeds = measured.at("auto")
    for curve in (speeds.encode, speeds.score, measured.disk):
        assert curve.points[0][1] < curve.points[-1][1]
    assert [round(tokens) for tokens, _ in speeds.encode.points] == pytest.approx([8, 32, 64, 128, 256], abs=4)
    assert [round(tokens) for tokens, _ in speeds.score.points] == pytest.approx([32, 64, 128, 256, 512], abs=8)


def test_bytes_are_those_of_a_real_index(measured: MachineProfile, tmp_path: Path, bi_encoder: BiEncoder) -> None:
    words = ["the", "pressure", "of", "cooling", "water", "in", "pipes", "falls", "as", "the", "pump", "slows", "down"]
    text = " ".join(words[i % len(words)] for i in range(100))
    with LocalIndex.create(tmp_path / "index", bi_encoder) as index:
        index.add(Document(str(i), f"{i} {text}") for i in range(200))
    expected = measured.empty + 200 * measured.disk.at(103)
    assert bytes_taken(tmp_path / "index") == pytest.approx(expected, rel=0.4)  # the engine takes room in steps


def test_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    notes: list[str] = []
    first = machine_profile(quick=True, note=notes.append)
    file = cache_folder() / "machine.json"
    assert [file.name] == [path.name for path in file.parent.iterdir()]
    assert len(notes) == 1
    assert "measuring this machine" in notes[0]
    assert machine_profile(quick=True, note=notes.append) == first
    assert len(notes) == 1
    # what other machines and models did stays; an entry that is damaged is measured anew
    content = json.loads(file.read_text())
    (key, values), *others = content["profiles"].items()
    assert not others
    assert first.machine in key
    other = key.replace("cores", "kernels")
    write_profiles(file, {other: values, key: {"machine": 1}})
    machine_profile(quick=True, note=notes.append)
    assert [note.partition(" ")[0] for note in notes[1:]] == [f"{file}:", "measuring"]
    profiles = json.loads(file.read_text())["profiles"]
    assert profiles.keys() == {key, other}
    assert profiles[other] == values
    MachineProfile.from_dict(profiles[key])


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 3}', '{"format": 3, "profiles": 3}', "\x80"])
def test_a_damaged_cache_is_said(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "machine.json"
    file.write_text(damage, encoding="latin-1")
    notes: list[str] = []
    assert read_profiles(file, notes.append) == {}
    assert notes == [f"{file}: damaged; measuring again"]


def test_a_cache_of_another_format_is_left_aside(tmp_path: Path) -> None:
    file = tmp_path / "machine.json"
    file.write_text('{"format": 99, "profiles": {"a": {}}}')
    notes: list[str] = []
    assert read_profiles(file, notes.append) == read_profiles(tmp_path / "none.json", notes.append) == {}
    assert notes == []


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bicross").write_text("a file in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BicrossError, match="set XDG_CACHE_HOME"):
        machine_profile(quick=True)


def test_curves_are_checked_when_they_are_read(measured: MachineProfile) -> None:
    values = json.loads(json.dumps(measured.as_dict()))
    values["store"] = {"points": [[5, 1], [4, 1]]}
    with pytest.raises(ValueError, match="must rise"):
        MachineProfile.from_dict(values)
    assert Curve(((1.0, 2.0),)).at(100) == 2.0
