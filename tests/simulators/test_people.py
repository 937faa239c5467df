"""The people who do not exist."""

from __future__ import annotations

from itertools import islice

import pytest

from simulators.people import RARE_NAMES, Paper, People, check_digit, permit_check


def test_the_published_example_of_the_standard() -> None:
    assert check_digit("11010519491231002") == "X"
    assert check_digit("44052418800101001") == "4"


def test_seventeen_digits_or_nothing() -> None:
    for wrong in ("", "1101051949123100", "1101051949123100a"):
        with pytest.raises(ValueError, match="17 digits"):
            check_digit(wrong)


def test_the_same_seed_gives_the_same_people() -> None:
    assert list(islice(People(7), 20)) == list(islice(People(7), 20))
    assert list(islice(People(7), 20)) != list(islice(People(8), 20))


@pytest.mark.parametrize("paper", list(Paper))
def test_numbers_hold(paper: Paper) -> None:
    people = People(3)
    for _ in range(200):
        person = people.person(paper)
        if paper is Paper.FOREIGNER_2017:
            assert len(person.number) == 15
            assert permit_check(person.number[:14]) == person.number[14]
        else:
            assert check_digit(person.number[:17]) == person.number[17]
            assert person.number[6:14] == f"{person.born:%Y%m%d}"
            if paper is not Paper.FOREIGNER_2023:
                assert int(person.number[16]) % 2 == person.sex % 2


def test_rare_characters_turn_up() -> None:
    names = {person.name for person in islice(People(1), 500)}
    assert names >= set(RARE_NAMES)
    assert all(len(name.encode("utf-16-le")) <= 30 for name in names)
