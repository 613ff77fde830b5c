"""One small prepared data set for the tests of the data room."""

from __future__ import annotations

from pathlib import Path

import pytest
from moving import SMALL, make_sources

from vidgen.data.dataset import Dataset, open_dataset
from vidgen.data.prepare import prepare


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 20 source videos with captions.csv."""
    return make_sources(tmp_path_factory.mktemp("sources"), 20)


@pytest.fixture(scope="session")
def prepared(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `prepare` makes of them. Do not write to it."""
    dest = tmp_path_factory.mktemp("prepared")
    prepare(str(sources), str(dest), SMALL)
    return dest


@pytest.fixture
def dataset(prepared: Path) -> Dataset:
    return open_dataset(str(prepared))
