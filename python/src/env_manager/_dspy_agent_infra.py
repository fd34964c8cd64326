"""What `dspy_agent.infra` is, where a finder serves it."""

from env_manager.infra import *  # noqa: F403
from env_manager.infra import __all__ as __all__
