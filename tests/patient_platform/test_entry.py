"""The entry point is honest about what is not there."""

from __future__ import annotations

import os

import pytest

from patient_platform.__main__ import main


def test_it_says_in_both_languages_that_it_is_not_available(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == os.EX_UNAVAILABLE
    said = capsys.readouterr().err
    assert "尚未包含在本版本中" in said
    assert "not yet available in this release" in said


def test_help_ends_well_and_names_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "69" in capsys.readouterr().out


def test_unknown_arguments_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--role", "api"])
    assert ended.value.code == 2
    assert "--role" in capsys.readouterr().err
