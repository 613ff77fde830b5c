"""Pictures come out the same when those that no reference leads to are never decoded."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_video import Recipe, make_video
from test_bitstream import decoded, packets_of

from vidgen.data.bitstream import Bitstream
from vidgen.data.references import References

# x264's settings that change what may refer to what, and how the headers say so.
STREAMS = {
    "one reference": "ref=1:bframes=3",
    "one reference, no arithmetic coding": "ref=1:bframes=3:cabac=0",
    "long mini groups": "ref=1:bframes=7:b-adapt=0",
    "several slices": "ref=1:bframes=3:slices=3",
    "weights": "ref=1:bframes=3:weightp=2:weightb=1",
    "temporal direct": "ref=1:bframes=3:direct=temporal",
    "strict pyramid": "ref=1:bframes=3:b-pyramid=strict",
    "no pyramid": "ref=1:bframes=3:b-pyramid=none",
    "intra pictures inside": "ref=1:bframes=3:min-keyint=250:scenecut=40",
    "many references": "ref=6:bframes=5:mixed-refs=1:weightp=2",
    "headers repeated": "ref=1:bframes=3:repeat-headers=1:keyint=20",
}


def stream(path: Path, params: str, **more: Any) -> tuple[Any, list[Any], list[memoryview]]:
    fields: dict[str, Any] = {"container": "mp4", "frames": 80, "gop": 250, "scenes": 3, **more}
    options = {"x264-params": params, "crf": "30"}
    made = make_video(path, Recipe(codec="libx264", options=options, **fields))
    context, packets = packets_of(made)
    return context, packets, [memoryview(bytes(packet)) for packet in packets]


def draw(packets: list[Any], rng: random.Random) -> set[int]:
    """Places of the pictures of a clip."""
    shown = sorted(range(len(packets)), key=lambda at: packets[at].pts)
    first, stride = rng.randrange(len(shown)), rng.choice([1, 2, 3, 5])
    return set(shown[first : first + stride * rng.randint(1, 8) : stride])


def check(path: Path, params: str, *, draws: int, rng: random.Random, **more: Any) -> list[float]:
    """Shares of the packets that were needed, where references could be followed."""
    context, packets, views = stream(path, params, **more)
    every = decoded(context, packets)
    shares = []
    for _ in range(draws):
        asked = draw(packets, rng)
        run = views[: max(asked) + 1]
        needed = References(context.extradata or b"").needed(run, asked)
        if needed is None:
            continue
        assert asked <= needed
        some = decoded(context, [packets[at] for at in sorted(needed)])
        for at in asked:
            pts = packets[at].pts
            assert (some[pts] == every[pts]).all(), (params, sorted(asked), at)
        shares.append(len(needed) / len(run))
    return shares


@pytest.mark.parametrize("params", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("container", ["mp4", "mpegts"])  # length fields, start codes
def test_pictures_are_those_of_a_whole_decode(tmp_path: Path, params: str, container: str) -> None:
    rng = random.Random(params)
    assert check(tmp_path / "video", params, draws=12, rng=rng, container=container)


@st.composite
def settings_of_x264(draw: st.DrawFn) -> str:
    choices = {
        "ref": [1, 1, 2, 3, 4, 6],
        "bframes": [0, 1, 2, 3, 5, 8, 16],
        "b-pyramid": ["none", "strict", "normal"],
        "b-adapt": [0, 1, 2],
        "weightp": [0, 1, 2],
        "weightb": [0, 1],
        "direct": ["spatial", "temporal", "auto", "none"],
        "slices": [1, 1, 3],
        "cabac": [0, 1],
        "scenecut": [0, 40],
        "keyint": [30, 250],
        "open-gop": [0, 0, 1],
        "mixed-refs": [0, 1],
        "8x8dct": [0, 1],
        "bluray-compat": [0, 0, 1],
        "tff": [0, 0, 0, 1],
        "intra-refresh": [0, 0, 0, 1],
        "repeat-headers": [0, 1],
    }
    return ":".join(f"{name}={draw(st.sampled_from(values))}" for name, values in choices.items())


@pytest.mark.slow
@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(params=settings_of_x264(), scenes=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_so_they_are_for_all_settings(tmp_path: Path, params: str, scenes: int, seed: int) -> None:
    check(tmp_path / "video", params, draws=8, rng=random.Random(seed), scenes=scenes)


def test_the_middle_of_a_pyramid_is_needed_near_the_clip_only(tmp_path: Path) -> None:
    context, packets, views = stream(tmp_path / "video", "ref=1:bframes=3:b-adapt=0")
    bits = Bitstream("h264", context.extradata)
    asked = {len(packets) - 1}
    needed, followed = bits.needed(views, [False] * len(views), asked)
    assert followed
    referred_to = {at for at, view in enumerate(views) if not bits.disposable(view)}
    assert len(needed) < 0.7 * len(referred_to)


def test_looking_stops_where_it_never_pays(tmp_path: Path) -> None:
    context, _, views = stream(tmp_path / "video", "ref=6:bframes=3:b-pyramid=none")
    references = References(context.extradata)
    answers = [references.needed(views, {len(views) - 1}) for _ in range(40)]
    assert answers[0] is not None
    assert answers[-1] is None


@pytest.mark.parametrize("params", ["tff=1:bframes=3", "bframes=0"])
def test_what_cannot_be_followed_is_decoded_whole(tmp_path: Path, params: str) -> None:
    context, _, views = stream(tmp_path / "video", params)
    bits = Bitstream("h264", context.extradata)
    needed, followed = bits.needed(views, [False] * len(views), {len(views) - 1})
    assert not followed
    assert needed >= {at for at, view in enumerate(views) if not bits.disposable(view)}


def test_a_run_that_begins_in_the_middle_is_decoded_whole(tmp_path: Path) -> None:
    context, _, views = stream(tmp_path / "video", "ref=1:bframes=3")
    assert References(context.extradata).needed(views[1:], {len(views) - 2}) is None


@settings(max_examples=300, deadline=None)
@given(extradata=st.binary(max_size=40), packets=st.lists(st.binary(max_size=40), max_size=4))
def test_noise_is_answered_too(extradata: bytes, packets: list[bytes]) -> None:
    for start in (b"", b"\1\x64\0\x1e\xff\xe1\0\x10\x67\x64\0\x1e"):
        views = [memoryview(packet) for packet in packets]
        found = References(start + extradata).needed(views, set(range(len(packets))))
        assert found is None or found <= set(range(len(packets)))


@given(data=st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_damage_is_answered_too(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "video"
    context, _, views = stream(path, "ref=2:bframes=3", frames=20, size=(32, 32))
    broken = [bytearray(view) for view in views]
    for _ in range(data.draw(st.integers(1, 8))):
        packet = data.draw(st.sampled_from(broken))
        packet[data.draw(st.integers(0, min(len(packet), 24) - 1))] = data.draw(st.integers(0, 255))
    found = References(context.extradata).needed([memoryview(b) for b in broken], {len(views) - 1})
    assert found is None or len(views) - 1 in found
