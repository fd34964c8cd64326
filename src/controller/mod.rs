//! The loop: the only place that knows both sides.
