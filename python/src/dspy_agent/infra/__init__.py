"""The old import path. The folder above has no `__init__.py` on purpose: it would hide a package of the user's."""

from env_manager.infra import *  # noqa: F403
from env_manager.infra import __all__ as __all__
