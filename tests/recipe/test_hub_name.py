from __future__ import annotations

import pytest

from tlmed.recipe.hub_name import HubName

COMMIT, DIGEST = "0123456789" * 4, "ab" * 32


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("hub:timm/net.tag", HubName("timm/net.tag")),
        ("hub:net.tag", HubName("timm/net.tag")),
        ("hub:lab/net@refs/pr/1", HubName("lab/net", "refs/pr/1")),
        (f"hub:lab/net@{COMMIT}#sha256:{DIGEST}", HubName("lab/net", COMMIT, DIGEST)),
        (f"hub:lab/net#sha256:{DIGEST}", HubName("lab/net", None, DIGEST)),
    ],
)
def test_forms(spec: str, expected: HubName) -> None:
    assert HubName.parse(spec) == expected
    assert HubName.parse(str(expected)) == expected


@pytest.mark.parametrize(
    "spec",
    [
        "hub:",
        "hub:../a",
        "hub:a/../b",
        "hub:a--b",
        "hub:a/b@",
        "hub:a/b@../c",
        "hub:a/b#sha256:12",
        "hub:a/b#md5:1",
        "a/b",
    ],
)
def test_what_is_no_name(spec: str) -> None:
    with pytest.raises(ValueError, match="write hub:ID"):
        HubName.parse(spec)


def test_only_a_full_hash_is_a_commit() -> None:
    assert HubName.parse(f"hub:a/b@{COMMIT}").commit == COMMIT
    assert [HubName.parse(f"hub:a/b@{one}").commit for one in ("main", COMMIT[:8])] == [None, None]


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        ("hub:a/b", f"hub:a/b@{COMMIT}#sha256:{DIGEST}", True),
        ("hub:a/b@main", f"hub:a/b@{COMMIT}", True),
        (f"hub:a/b@{COMMIT}", f"hub:a/b@{'f' * 40}", False),
        (f"hub:a/b@{COMMIT}#sha256:{DIGEST}", f"hub:a/b@{'f' * 40}#sha256:{DIGEST}", True),
        (f"hub:a/b#sha256:{DIGEST}", f"hub:a/b#sha256:{'cd' * 32}", False),
        (f"hub:a/b@{COMMIT}#sha256:{DIGEST}", f"hub:a/b@{COMMIT}#sha256:{'cd' * 32}", False),
        ("hub:a/b", "hub:a/c", False),
    ],
)
def test_names_that_may_mean_one_file(one: str, other: str, agree: bool) -> None:
    assert HubName.parse(one).agrees_with(HubName.parse(other)) is agree
    assert HubName.parse(other).agrees_with(HubName.parse(one)) is agree
