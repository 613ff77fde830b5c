"""The data section of a run's report."""

from __future__ import annotations

from vidgen.config.run import RunConfig
from vidgen.data.ensure import dataset_url
from vidgen.data.inspect import inspect
from vidgen.data.page import section
from vidgen.errors import DataError, StorageError
from vidgen.observe.report import DataSection, Fact


def data_section(config: RunConfig) -> DataSection:
    """What `vidgen data inspect` finds; only the config's own words where the data set is gone."""
    url, made = dataset_url(config), config.data.synthetic
    if made is not None and config.data.url is None:
        facts = [Fact(name="Made", value="captioned moving shapes")]
        facts += [Fact(name="Drawn", value=f"{made.clips:,}")]
        facts += [Fact(name="Seed", value=str(made.seed))]
    else:
        facts = [Fact(name="Data set", value=str(url))]
    if url is None:
        return DataSection(facts=facts)
    try:
        found = inspect(url, config.storage)
    except (DataError, StorageError) as error:
        return DataSection(facts=[*facts, Fact(name="Contents", value=f"not readable: {error}")])
    return section(found, facts)
