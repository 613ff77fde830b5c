"""Run configuration: pydantic models over strict YAML. Imports neither torch nor ray."""

from vidgen.config.load import dump, load_run
from vidgen.config.run import RunConfig

__all__ = ["RunConfig", "dump", "load_run"]
