"""Odd values, and ways to put them into valid documents."""

import copy
from typing import Any

import tomli_w
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st


def examples(short: int, long: int = 2000) -> settings:
    """Return how many cases a property is tested with in the short and in the long profile."""
    is_long = settings.get_current_profile_name() == "long"
    return settings(max_examples=long if is_long else short, suppress_health_check=[HealthCheck.too_slow])


TEXTS = (
    *("", " ", "0", "-1", "8", "8,14", "8,,", "3", "4,", "1e400", "nan", "inf", "0x10", "1_0", "٣", "²"),
    *("9" * 30, "a" * 300, "..", ".", "../x", "a/b", "a\\b", "con", "~nosuchuser", "--", "-", "=", "a=b"),
    *("plain", "resnet", "plain,resnet", "digits", "quick", "auto", "cpu", "cuda", "cuda:99", "none", "true"),
    *("\0", "a\nb", "caf\udce9", "\ud800", "\x1b[2J", "\u202e", "é", "[red]", "{}", "%s", "'''", "[1", "網"),
)
"""Texts that have broken programs, and values of settings."""
CHOICES = (
    *("plain", "resnet", "densenet", "plain_mlp", "none", "batch", "layer", "he", "xavier", "relu", "tanh"),
    *("sgd", "adam", "step", "cosine", "plateau", "hold", "linear", "crop", "scale", "fp32", "bf16", "pixel"),
    *("channel", "A", "B", "C", "once", "noisy", "blurred", "weight_norm", "grad_norm_weight", "mine"),
)
"""Values that some setting can have."""

texts = st.sampled_from(TEXTS) | st.text(max_size=8)
numbers = (
    st.sampled_from(
        [0, 1, -1, 2, 3, 8, 20, 2**31, 2**63, -(2**63), 10**30, 0.0, -0.0, 0.5, 1.0, 1e-300, 1e300]
    )
    | st.integers()
    | st.floats()
)
scalars = st.none() | st.booleans() | numbers | texts
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)

toml_values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | numbers.filter(lambda x: abs(x) < 2**63) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Return the path of every value in a document of dicts and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


def changed(document: Any, path: tuple, value: Any) -> Any:
    """Return a copy of a document with another value at `path`. DELETE removes the key."""
    if not path:
        return {} if value is DELETE else value
    made = copy.deepcopy(document)
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    if value is DELETE:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return made


DELETE = object()


def at(document: Any, path: tuple) -> Any:
    """Return the value at `path`."""
    for key in path:
        document = document[key]
    return document


def alike(value: Any) -> st.SearchStrategy:
    """Return values of the same type, many of which are valid."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.integers(0, 40)
    if isinstance(value, float):
        return st.floats(0, 1) | st.integers(0, 3).map(float)
    if isinstance(value, str):
        return st.sampled_from(CHOICES) | st.sampled_from(TEXTS)
    return st.just(value)


@st.composite
def mutations(draw: st.DrawFn, document: Any, values: st.SearchStrategy = json_values) -> Any:
    """Return a document with odd values, or none, in up to three places."""
    made = document
    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        path = draw(st.sampled_from(places(made)[1:] or [()]))
        made = changed(made, path, draw(st.one_of(alike(at(made, path)), values, st.just(DELETE))))
    return made


def as_toml(document: Any) -> bytes | None:
    """Return a document as TOML; None if TOML cannot express it."""
    try:
        return tomli_w.dumps(document).encode()
    except (TypeError, ValueError, AttributeError):
        return None


@st.composite
def damaged(draw: st.DrawFn, content: bytes, spliced: bytes = b"") -> bytes:
    """Return bytes with up to three flips, cuts, insertions or parts of other bytes."""
    made = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(made) - 1)))
        length = draw(st.integers(1, 64) | st.integers(1, max(1, len(made))))
        match draw(st.sampled_from(["flip", "cut", "remove", "insert", "zero", "move", "splice"])):
            case "flip" if made:
                made[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del made[at:]
            case "remove":
                del made[at : at + length]
            case "insert":
                made[at:at] = draw(st.binary(min_size=1, max_size=16))
            case "zero":
                made[at : at + length] = bytes(len(made[at : at + length]))
            case "move":
                part = made[at : at + length]
                start = draw(st.integers(0, max(0, len(made) - 1)))
                made[start : start + len(part)] = part
            case "splice":
                made[at:] = spliced[at:]
    return bytes(made)
