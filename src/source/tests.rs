//! Sources, on real folders.
