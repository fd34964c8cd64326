//! Sources: where the desired state comes from.
