from __future__ import annotations

import pytest

from shardproxy.controller.admin.guard import is_from_elsewhere

HERE = "127.0.0.1:9901"


@pytest.mark.parametrize(
    ("origins", "host"),
    [
        ([], HERE),
        ([], None),
        (["http://127.0.0.1:9901"], HERE),
        (["http://Admin.test"], "admin.TEST"),
        (["http://[::1]:9901"], "[::1]:9901"),
    ],
)
def test_commands_and_its_own_pages_are_from_here(origins: list[str], host: str | None) -> None:
    assert not is_from_elsewhere(origins, host)


@pytest.mark.parametrize(
    ("origins", "host"),
    [
        (["http://evil.test"], HERE),
        (["http://127.0.0.1"], HERE),
        (["http://127.0.0.1:8080"], HERE),
        (["http://127.0.0.1:9901@evil.test"], HERE),
        (["http://127.0.0.1:9901", "http://evil.test"], HERE),
        (["null"], HERE),
        (["null"], ""),
        ([""], None),
        (["http://["], HERE),
    ],
)
def test_everything_else_is_from_elsewhere(origins: list[str], host: str | None) -> None:
    assert is_from_elsewhere(origins, host)
