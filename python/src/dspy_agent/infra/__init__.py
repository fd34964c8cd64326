"""The old import path. The folder above has no `__init__.py` on purpose: it would hide a package of the user's."""

from env_manager._dspy_agent_infra import *  # noqa: F403
from env_manager._dspy_agent_infra import __all__ as __all__
