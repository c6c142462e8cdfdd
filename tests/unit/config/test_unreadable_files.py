"""What cannot be read as a file of text at all is refused in a sentence too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shardproxy.config.errors import ConfigError, ConfigErrors, Unreadable
from shardproxy.config.load import MAX_FILE_BYTES, endpoints_in, load


def refusal(path: Path) -> str:
    with pytest.raises(ConfigErrors) as caught:
        load(path)
    return str(caught.value).removeprefix(f"{path}")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.yaml") == ": the file cannot be read: No such file or directory"


def test_a_directory(tmp_path: Path) -> None:
    assert refusal(tmp_path) == ": the file cannot be read: Is a directory"


def test_a_name_that_no_file_can_have() -> None:
    assert refusal(Path("a\0b")) == ": this is not the name of a file"


def test_a_pipe_that_nobody_writes_to_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == ": this is not a file that can be read as a configuration"


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes(b"# one\n# two\n" + "# café\n".encode("latin-1"))
    assert refusal(file) == ":3: the byte 0xe9 is not UTF-8; save the file as UTF-8"


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    assert refusal(file) == ": the file is larger than 4 MiB"


def test_an_endpoints_file_that_cannot_be_opened_is_told_from_one_that_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.yaml"
    with pytest.raises(Unreadable) as caught:
        endpoints_in(str(file))
    reason = "the file cannot be read: No such file or directory"
    assert caught.value.errors == [ConfigError(str(file), 0, "", reason)]
    file.write_bytes(b"# one\n\xff\n")
    with pytest.raises(ConfigErrors) as other:
        endpoints_in(str(file))
    assert type(other.value) is ConfigErrors
    assert other.value.errors == [
        ConfigError(str(file), 2, "", "the byte 0xff is not UTF-8; save the file as UTF-8")
    ]
    file.write_text("- nonsense\n")
    with pytest.raises(ConfigErrors) as third:
        endpoints_in(str(file))
    assert third.value.errors[0].file == str(file)
    file.write_text("- 127.0.0.1:1\n")
    assert [each.address.port for each in endpoints_in(str(file))] == [1]
