//! Docker, over bollard: the only place that names it.
